"""Which files a configuration's sources come down to, and what tells one content of them from another.

Planning a run calls :func:`list_sources` every time, so for local files it needs nothing beyond the standard library.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vecmill.corpus.config import CorpusConfig, SourceFormat
from vecmill.corpus.naming import ARCHIVES, COMPRESSIONS, ENDINGS, is_wanted, split_name
from vecmill.corpus.tree import files_known_to_git
from vecmill.errors import SourceError, VecmillError
from vecmill.store.digest import sha256_file

_BUILTIN = "builtin:"
# English prose among the dumps in gensim's test data; the others are Bulgarian or stubs.
_BUILTIN_FILES: dict[str, tuple[str, ...]] = {
    "enwiki-sample": (
        "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
        "enwiki-table-markup.xml.bz2",
    )
}
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file to read.

    Attributes
    ----------
    uri : path or URL as the configuration spells it; what users see, and what ``source_uri`` says in the corpus
    n_bytes : size as stored
    fingerprint : ``sha256:…`` of the content for local and memory files, ``etag:…`` or ``version:…`` for remote ones
    name : name within its source, the same wherever the source's folder lies; document ids build on it
    location : local path or URL to open
    """

    uri: str
    n_bytes: int
    fingerprint: str
    name: str
    location: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.location


def list_sources(config: CorpusConfig, file_digest: Callable[[Path], str] = sha256_file) -> list[SourceFile]:
    """Find every file that the configuration's sources name, each once, sorted by URI.

    Parameters
    ----------
    config : its sources, format and storage options
    file_digest : sha256 of a local file as hex digits; the store passes one that remembers files it has seen

    Returns
    -------
    list of SourceFile, never empty; files that hold no bytes included. Names are distinct: where two sources hold a
    file of the same name, both names are lengthened by parent folders until they differ.

    Raises
    ------
    SourceError : a source is missing or unreadable, a glob or folder holds nothing to read, a name says no format
    CredentialsError : a remote store refused us
    """
    found: dict[str, SourceFile] = {}
    for source in config.sources:
        for file in _files_of(source, config, file_digest):
            # Overlapping sources: the shortest name wins, whatever the order of the sources.
            identity = os.path.realpath(file.location) if file.is_local else file.location
            known = found.get(identity)
            if known is None or (len(file.name), file.name, file.uri) < (len(known.name), known.name, known.uri):
                found[identity] = file
    return _with_distinct_names(sorted(found.values(), key=lambda file: file.uri))


def format_of(file: SourceFile, config: CorpusConfig) -> SourceFormat:
    """The configured format, or what the file's name says; an archive is one whatever format its files have.

    Raises
    ------
    SourceError : the format is "auto" and the name ends in none that we know
    """
    named, _ = split_name(file.name)
    if config.format != "auto" and (config.format in ARCHIVES or named not in ARCHIVES):
        return config.format
    if named is None:
        raise _unknown_ending(file.uri)
    return named


def _files_of(source: str, config: CorpusConfig, file_digest: Callable[[Path], str]) -> Iterator[SourceFile]:
    if source.startswith(_BUILTIN):
        yield from _builtin_files(source, file_digest)
        return
    if source.startswith("file://"):
        source = source.removeprefix("file://")
    if "://" in source:
        yield from _remote_files(source, config)
        return
    for path, name in _local_paths(source, config):
        yield _local_file(path, path.as_posix(), name, file_digest)


def _builtin_files(source: str, file_digest: Callable[[Path], str]) -> Iterator[SourceFile]:
    sample = source.removeprefix(_BUILTIN)
    if sample not in _BUILTIN_FILES:
        raise SourceError(f"unknown built-in source {source!r}", expected=f"one of {_spelled(_BUILTIN_FILES)}")
    # Finds the package without running it: importing gensim takes a second.
    package = importlib.util.find_spec("gensim")
    if package is None or not package.submodule_search_locations:
        raise SourceError(
            f"the source {source} needs the package gensim, which is not installed", todo="pip install gensim"
        )
    folder = Path(package.submodule_search_locations[0]) / "test" / "test_data"
    for file_name in _BUILTIN_FILES[sample]:
        # The URI leaves out where gensim lies, so that the corpus is the same bytes on every machine.
        yield _local_file(folder / file_name, f"{source}/{file_name}", f"{sample}/{file_name}", file_digest)


def _local_paths(source: str, config: CorpusConfig) -> Iterator[tuple[Path, str]]:
    """Local paths of a file, folder or glob, each with its name below the fixed part of the source."""
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            names = files_known_to_git(path) if config.format == "code" else None
            if names is None:
                names = [child.relative_to(path).as_posix() for child in _files_below(path, config)]
            names = sorted(name for name in names if is_wanted(name, config))
            if not names:
                raise _nothing_in(source, "folder")
            yield from ((path / name, name) for name in names)
        elif not path.exists() and glob.has_magic(source):
            fixed = _fixed_part(str(path))
            # pathlib's own glob takes no absolute pattern.
            matches = (Path(match) for match in sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207
            files = [match for match in matches if match.is_file()]
            if not files:
                raise SourceError(
                    f"no file matches {source!r}",
                    todo=f"check the pattern (in {Path.cwd()}); ** crosses folders, hidden files are left out",
                )
            for match in files:
                if config.format == "auto" and split_name(match.name)[0] is None:
                    raise _unknown_ending(match.as_posix())
                yield match, match.as_posix()[len(fixed) :]
        else:
            if path.is_file() and config.format == "auto" and split_name(path.name)[0] is None:
                raise _unknown_ending(source)
            yield path, path.name
    except PermissionError as error:
        raise _unreadable(source, error) from error


def _files_below(folder: Path, config: CorpusConfig) -> Iterator[Path]:
    """Every file below a folder but for what is hidden there."""
    for child in folder.iterdir():
        if child.name.startswith("." if config.format == "code" else (".", "_")):
            continue
        if child.is_dir():
            if not child.is_symlink():
                yield from _files_below(child, config)
        elif child.is_file():
            yield child


def _fixed_part(pattern: str) -> str:
    """The folders of a glob before its first wildcard, with the slash after them."""
    parts = pattern.split("/")
    n_fixed = next(position for position, part in enumerate(parts) if glob.has_magic(part))
    return "".join(f"{part}/" for part in parts[:n_fixed])


def _local_file(path: Path, uri: str, name: str, file_digest: Callable[[Path], str]) -> SourceFile:
    if not path.exists():
        raise SourceError(f"{uri} does not exist", todo=f"check the path (in {Path.cwd()})")
    if not path.is_file():
        raise SourceError(f"{uri} is not a regular file", expected="a file, a folder or a glob of files")
    try:
        return SourceFile(uri, path.stat().st_size, f"sha256:{file_digest(path)}", name, str(path))
    except OSError as error:
        raise _unreadable(uri, error) from error


def _remote_files(source: str, config: CorpusConfig) -> Iterator[SourceFile]:
    from vecmill.store.patience import patiently
    from vecmill.store.remote import explain_remote_error, filesystem

    scheme = source.partition("://")[0]
    try:
        fs, path = filesystem(source, config.storage_options)
        is_glob = glob.has_magic(source) and not _is_there(fs, path)
        if is_glob:
            fixed = _fixed_part(path)
            details = _glob(fs, path)
        else:
            details = {path: patiently(lambda: fs.info(path))}
            fixed = path[: len(path) - len(PurePosixPath(path).name)]
            if details[path]["type"] == "directory":
                fixed = path.rstrip("/") + "/"
                details = _below(fs, path) if _walks(fs) else patiently(lambda: fs.find(path, detail=True))
                names = sorted(name for name in details if is_wanted(name[len(fixed) :], config))
                details = {name: details[name] for name in names}
                if not details:
                    raise _nothing_in(source, "folder")
        files = {name: info for name, info in details.items() if info["type"] == "file"}
        if not files:
            raise SourceError(f"no file matches {source!r}", todo="check the pattern; ** crosses folders")
        for name, info in sorted(files.items()):
            # memory:// paths begin with a slash, bucket names do not, http names are URLs; all end up as scheme://path.
            uri = name if "://" in name else f"{scheme}://{name.lstrip('/')}"
            if config.format == "auto" and split_name(name)[0] is None:
                raise _unknown_ending(uri)
            yield SourceFile(uri, int(info["size"] or 0), remote_fingerprint(fs, name, info), name[len(fixed) :], uri)
    except VecmillError:
        raise
    except Exception as error:
        # Every client behind fsspec has its own errors; what they mean is said in one place.
        raise explain_remote_error(error, source) from error


def _is_there(fs: Any, path: str) -> bool:
    # fsspec's own question takes every failure for a no.
    from vecmill.store.patience import patiently

    try:
        patiently(lambda: fs.info(path))
    except FileNotFoundError:
        return False
    return True


def _glob(fs: Any, pattern: str) -> dict[str, dict[str, Any]]:
    from fsspec.utils import glob_translate

    from vecmill.store.patience import patiently

    is_deep = "**" in pattern
    if not _walks(fs) and (is_deep or fs.protocol[0] != "s3"):
        return dict(patiently(lambda: fs.glob(pattern, detail=True)))
    fixed = _fixed_part(pattern)
    if not _is_there(fs, fixed.rstrip("/")):
        return {}
    n_folders = None if is_deep else pattern[len(fixed) :].count("/")
    matches = re.compile(glob_translate(pattern)).match
    return {name: info for name, info in _below(fs, fixed.rstrip("/"), n_folders).items() if matches(name)}


def _below(fs: Any, folder: str, n_folders: int | None = None) -> dict[str, dict[str, Any]]:
    """Every file below a remote folder, at most ``n_folders`` further down.

    Not by fsspec's own walk, which leaves out a folder that could not be listed without a word.
    """
    from vecmill.store.patience import patiently

    found: dict[str, dict[str, Any]] = {}
    for info in patiently(lambda: fs.ls(folder, detail=True)):
        name = info["name"].rstrip("/")
        if info["type"] == "file":
            found[info["name"]] = info
        elif name != folder.rstrip("/") and n_folders != 0:
            found |= _below(fs, name, None if n_folders is None else n_folders - 1)
    return found


def _walks(fs: Any) -> bool:
    """Whether fsspec would list this file system folder by folder."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    own = (getattr(type(fs), "_find", type(fs).find), getattr(type(fs), "_glob", type(fs).glob))
    return own in (
        (AbstractFileSystem.find, AbstractFileSystem.glob),
        (AsyncFileSystem._find, AsyncFileSystem._glob),
    )


def remote_fingerprint(fs: Any, path: str, info: dict[str, Any]) -> str:
    """What tells one content of a remote file from another: its ETag or version, else a digest of all its bytes."""
    for field in ("ETag", "etag", "md5Hash", "content_md5"):
        if info.get(field):
            return "etag:" + str(info[field]).strip('"')
    version = info.get("VersionId")
    if version and version != "null":
        return f"version:{version}"
    from vecmill.store.patience import PatientStream

    digest = hashlib.sha256()
    with PatientStream(partial(fs.open, path, "rb")) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _with_distinct_names(files: list[SourceFile]) -> list[SourceFile]:
    """Lengthen names that several files share by as many parent folders as tell them apart."""
    n_parts = [len(file.name.split("/")) for file in files]
    while True:
        names = [_last_parts(file, n) for file, n in zip(files, n_parts, strict=True)]
        shared = {name for name, n_files in Counter(names).items() if n_files > 1}
        if not shared:
            return [replace(file, name=name) for file, name in zip(files, names, strict=True)]
        n_parts = [n + (name in shared) for n, name in zip(n_parts, names, strict=True)]


def _last_parts(file: SourceFile, n: int) -> str:
    if n <= len(file.name.split("/")):
        return file.name
    return "/".join(file.uri.split("/")[-n:])


def _unknown_ending(uri: str) -> SourceError:
    return SourceError(
        f"the name of {uri} does not say its format",
        expected=f"a name ending in {_spelled(ENDINGS)}, optionally followed by {_spelled(COMPRESSIONS)}",
        todo="rename the file, or state the format with corpus.format",
    )


def _nothing_in(source: str, kind: str) -> SourceError:
    return SourceError(
        f"the {kind} {source} holds no file to read",
        expected=f"files ending in {_spelled(ENDINGS)}",
        todo="check the path, or state corpus.format to read files with other endings",
    )


def _unreadable(uri: str, error: OSError) -> SourceError:
    return SourceError(
        f"cannot read {uri} ({error.strerror or error})", todo="check the permissions of the file and its folders"
    )


def _spelled(names: dict[str, Any]) -> str:
    return ", ".join(names)
