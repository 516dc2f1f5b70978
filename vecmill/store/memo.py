"""A memory of file digests, so that an unchanged file is not read again only to learn that it is unchanged."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from pathlib import Path

from vecmill.store.digest import sha256_file

# A file changed twice within one tick of the file system's clock keeps its times; only older ones are remembered.
_SETTLED_NS = 2_000_000_000


class DigestMemo:
    """sha256 of local files, remembered by path, size, mtime, ctime and inode.

    A file's ctime cannot be set by ``touch`` or ``cp -p``, so an altered file is noticed even when its size and mtime
    were put back. Losing the memory file costs time, never correctness; a damaged one is ignored.

    Parameters
    ----------
    path : file that keeps the memory (JSON); its folder is created when something is written
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[object]] = known if isinstance(known, dict) else {}

    def sha256(self, path: Path) -> str:
        """Digest of a file's content, 64 hex digits; read only when it is not remembered."""
        status = path.stat()
        signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        name = str(path.absolute())
        remembered = self._known.get(name)
        if isinstance(remembered, list) and len(remembered) == 5 and remembered[:4] == signature:
            return str(remembered[4])
        digest = sha256_file(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._known[name] = [*signature, digest]
            self._changed = True
        return digest

    def learn(self, path: Path, digest: str) -> None:
        """Take somebody's word for a file's digest: one who has just made it or linked to it."""
        with contextlib.suppress(OSError):
            status = path.stat()
            signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            self._known[str(path.absolute())] = [*signature, digest]
            self._changed = True

    def save(self) -> None:
        """Write what was learnt, atomically; failing to is not an error, since the memory is only a convenience."""
        if not self._changed:
            return
        temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            known = list(self._known.items())  # in one step: other threads may be adding
            kept = {name: value for name, value in known if os.path.exists(name)}  # noqa: PTH110
            temporary.write_text(json.dumps(kept))
            temporary.replace(self._path)
            self._changed = False
        except OSError:
            temporary.unlink(missing_ok=True)
