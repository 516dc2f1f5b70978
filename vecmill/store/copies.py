"""Copies of a remote store's artifacts on this machine: those in use stay, of the others the latest used.

A copy is a folder. Who uses it holds a shared lock on that very folder (``flock``; let go by the kernel when the
process ends, however it ends), and who removes it an exclusive one, so that any number of processes may share a cache.
When it was used last is the folder's time of modification.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import resource
import shutil
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("vecmill")

# What is looked at again after so much of the limit was added: other processes add too.
_LOOK_AGAIN_FRAC = 0.05
# Where something has to go, a little more goes, so that not every file that is added makes room anew.
_KEPT_FRAC = 0.9
# That there is no room is said again when so many times as much is in use, not for every file that is added.
_TOLD_AGAIN = 2
_MANY_FILES = 65_536
# Names from before a cache could be shared: they do not say which store they belong to, and no store looks for them.
_UNMARKED_COPY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")
_UNMARKED_CHECKPOINTS = re.compile(r".+-[0-9a-f]{32}")


@dataclass
class _Scope:
    """Folders that are held until somebody is done, by name, the one used last at the end.

    The values are file descriptors with a shared lock.
    """

    held: dict[str, int] = field(default_factory=dict)

    def let_go_of_a_piece(self) -> bool:
        """Let go of the piece used longest ago, of which a stage may have thousands; False where there is none."""
        piece = next((name for name in self.held if "." in name.partition("/")[0]), None)
        if piece is None:
            return False
        os.close(self.held.pop(piece))
        return True

    def close(self) -> None:
        while self.held:
            os.close(self.held.popitem()[1])


class Copies:
    """The folder of copies of one cache, and what of them an object in this process uses.

    Parameters
    ----------
    root : holds a folder ``STAGE/NAME`` for each copy; made when the first comes
    limit : bytes that all copies together may take, those in use left aside
    """

    def __init__(self, root: Path, limit: int) -> None:
        self._root = root
        self._limit = limit
        self._room: float | None = None  # bytes that may be added before the folder is looked at again
        self._guard = threading.RLock()
        self._here = threading.local()
        self._n_users = 0
        self._has_removed_unmarked = False
        self._told_bytes = 0  # taken by copies in use when it was last said that they leave no room
        self._others = _Scope()
        weakref.finalize(self, _Scope.close, self._others)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Let go, at the end, of what this thread used in between; and, when nobody is left, of what others did."""
        scope, before = _Scope(), getattr(self._here, "scope", None)
        self._here.scope = scope
        with self._guard:
            self._n_users += 1
            self._remove_unmarked()
        try:
            yield
        finally:
            self._here.scope = before
            with self._guard:
                scope.close()
                self._n_users -= 1
                if not self._n_users:
                    self._others.close()

    def path(self, name: str) -> Path:
        """Where a copy lies, or would."""
        return self._root / name

    def use(self, name: str) -> Path:
        """The folder of a copy, made if there is none; it stays until :meth:`using` ends, or this object does."""
        with self._guard:
            scope: _Scope = getattr(self._here, "scope", None) or self._others
            if name in scope.held:
                scope.held[name] = scope.held.pop(name)  # now the one used last
            else:
                while len(scope.held) >= _most_held(len(scope.held)) and scope.let_go_of_a_piece():
                    pass
                scope.held[name] = _hold(self._root / name)
        return self._root / name

    @contextmanager
    def held(self, name: str) -> Iterator[Path]:
        """The folder of a copy, made if there is none; it stays for the block."""
        with held_folder(self._root / name) as folder:
            yield folder

    def remove(self, pattern: str) -> list[Path]:
        """Remove the copies whose names match, and give those that somebody else uses: they stay.

        What this object used outside of any :meth:`using` it lets go of; so does a thread within one.
        """
        found = sorted(self._root.glob(pattern))
        with self._guard:
            mine: _Scope | None = getattr(self._here, "scope", None)
            for scope in (self._others, mine) if mine else (self._others,):
                for path in found:
                    if (number := scope.held.pop(path.relative_to(self._root).as_posix(), None)) is not None:
                        os.close(number)
        return [path for path in found if not remove_unless_held(path, self._aside())]

    def _aside(self) -> Path:
        return self._root.parent / f"scratch-{uuid.uuid4().hex[:8]}"

    def _remove_unmarked(self) -> None:
        """Remove, once for all, the copies that an earlier version left."""
        if self._has_removed_unmarked:
            return
        self._has_removed_unmarked = True
        found = [each for each in self._root.glob("*/*") if _UNMARKED_COPY.fullmatch(each.name)]
        removed = [path for path in found if remove_unless_held(path, self._aside())]
        if removed:
            log.info("removed %d copies in %s that an earlier version of vecmill made", len(removed), self._root)

    def expect(self, n_bytes: int) -> None:
        """Make room for so many bytes, as far as copies that nobody uses give it."""
        with self._guard:
            if self._room is None or n_bytes > self._room:
                free = self._limit - self._make_room(max(0, self._limit - n_bytes))
                self._room = max(n_bytes, min(free, self._limit * _LOOK_AGAIN_FRAC))
            self._room -= n_bytes

    def _make_room(self, wanted: int) -> int:
        """Remove copies, the ones used longest ago first, where they take more than wanted; gives what is left."""
        self._root.mkdir(parents=True, exist_ok=True)
        found = sorted((_Copy.at(path) for path in self._root.glob("*/*") if path.is_dir()), key=lambda each: each.used)
        # A file of a piece may be a file of its stage too: one on the disk, which goes with the last of its names.
        names = Counter(inode for each in found for inode in each.files)
        total = sum({inode: size for each in found for inode, size in each.files.items()}.values())
        if total <= wanted:
            return total
        for each in found:
            if total <= wanted * _KEPT_FRAC:
                return total
            if each.remove(self._aside()):
                names.subtract(list(each.files))
                total -= sum(size for inode, size in each.files.items() if not names[inode])
        if total > wanted and total > self._told_bytes * _TOLD_AGAIN:
            self._told_bytes = total
            log.info(
                "copies of artifacts in %s take %.1f GB and are in use; store.cache_size (%.1f GB) leaves no room for "
                "more",
                self._root,
                total / 1e9,
                self._limit / 1e9,
            )
        return total


@dataclass(frozen=True)
class _Copy:
    """A copy: its folder, when it was used last, and the size of each of its files."""

    path: Path
    used: float
    files: dict[tuple[int, int], int]

    @classmethod
    def at(cls, path: Path) -> _Copy:
        files, used = {}, 0.0
        with contextlib.suppress(FileNotFoundError):  # somebody else was faster
            used = path.stat().st_mtime
        for folder, _, names in os.walk(path):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    status = Path(folder, name).stat()
                    files[status.st_dev, status.st_ino] = status.st_size
        return cls(path, used, files)

    def remove(self, aside: Path) -> bool:
        """Remove it unless somebody uses it, or has since it was looked at; True where it is gone."""
        return remove_unless_held(self.path, aside, last_used=self.used)


def _most_held(n_held: int) -> int:
    """How many folders one stage may hold: half of the files that a process may have open, which is raised in need."""
    now, most = (_MANY_FILES if each == resource.RLIM_INFINITY else each for each in _limits())
    wanted = min(most, _MANY_FILES)
    if n_held >= now // 2 and now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, _limits()[1]))
            now = wanted
    return now // 2


@contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """A folder, made if there is none, that nobody who asks for it removes (:func:`remove_unless_held`)."""
    number = _hold(folder)
    try:
        yield folder
    finally:
        os.close(number)


def remove_unless_held(folder: Path, aside: Path | None = None, *, last_used: float | None = None) -> bool:
    """Remove a folder with all it holds, unless somebody holds it; True where it is gone.

    Parameters
    ----------
    aside : where it goes first, on the same disk: so it is gone in one step, as others see it
    last_used : the folder's time of modification, in seconds since 1970, without which it stays. So it does on a file
        system without locks, where nobody can tell who uses it; without this argument it goes there
    """
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    except OSError:  # another person's, or too many files are open
        return False
    try:
        if not _locked(number, if_unknown=last_used is None):
            return False
        status = folder.stat()
        if last_used not in (None, status.st_mtime) or not os.path.samestat(os.fstat(number), status):
            return False  # used since, or removed and made again by others
        if aside is not None:
            folder = folder.rename(aside)
        shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        os.close(number)
    return not folder.exists()


def last_touched(folder: Path) -> float:
    """When something in a folder was written last, in seconds since 1970."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def remove_unmarked_checkpoints(folder: Path) -> None:
    """Remove the checkpoints that a version left which did not say whose they are."""
    for path in folder.glob("*"):
        if _UNMARKED_CHECKPOINTS.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _locked(number: int, *, if_unknown: bool) -> bool:
    """Take the exclusive lock on an open folder; ``if_unknown`` is the answer of a file system without locks."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return if_unknown
    return True


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _hold(folder: Path) -> int:
    """Make sure that a folder is there and stays: a file descriptor with a shared lock on it."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(folder) and not folder.is_dir():
                raise  # something else has the name
            continue  # it was there when it was to be made, and removed before anybody looked at it
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(number), folder.stat()):
                with contextlib.suppress(OSError):
                    os.utime(folder)
                return number
        os.close(number)
