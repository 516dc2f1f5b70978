"""What the operating system says about a store's disk, in words for the person who owns it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vecmill.errors import StorageFull, StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NAMES = {"store.uri": "store", "store.cache": "cache"}
_GIVES_BACK = {
    "store.uri": "`vecmill gc --dry-run` shows what the store could give back",
    "store.cache": "store.cache_size bounds what copies take of it",
}
_FORBIDDEN = {
    errno.EACCES,
    errno.EEXIST,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


@contextmanager
def explained(where: str, doing: str, setting: str = "store.uri") -> Iterator[None]:
    """Turn an OSError of the block into a StoreError where its cause is known; others pass.

    Parameters
    ----------
    where : root of the store, or of what a remote one keeps on this machine
    setting : which field of the configuration says where that is
    doing : what was going on, as in "while stage train was writing"

    Raises
    ------
    StorageFull : no room was left, or a quota or size limit was reached
    StoreError : the store's folder cannot be made or written
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL or _cut_short(error):
            raise StorageFull(
                f"no room left {doing} below {where} ({error.strerror or error})",
                expected="free space for the output",
                todo=f"free some space ({_GIVES_BACK[setting]}) or set {setting} to another disk, then run again: "
                "finished stages are kept",
            ) from error
        place = str(error.filename or "")
        if error.errno in _FORBIDDEN and place and (place.startswith(where) or where.startswith(place)):
            raise StoreError(
                f"the {_NAMES[setting]} {where} cannot be used {doing} ({error.strerror}: {error.filename})",
                expected="a folder that this user may create and write",
                todo=f"change the permissions, or set {setting} to a folder of your own",
            ) from error
        raise


def _cut_short(error: OSError) -> bool:
    """Whether this is NumPy's way of saying that the disk is full: no errno, "100 requested and 50 written"."""
    return error.errno is None and " requested and " in str(error) and str(error).endswith(" written")
