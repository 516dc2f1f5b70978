"""The one door to remote storage: opens a file system for a URL, and says what its errors mean.

Credentials are never part of a configuration. They come from where the storage's own client looks for them: for S3 the
``AWS_*`` environment variables, the shared credentials file or the machine's role. ``AWS_ENDPOINT_URL`` points at an
S3-compatible server other than Amazon's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from vecmill.errors import CredentialsError, SourceError, SourceUnavailable, StoreUnavailable, UserError, VecmillError
from vecmill.store.remote_faults import UNREACHABLE, chain, error_code, may_pass

_S3_SCHEMES = ("s3://", "s3a://")
# What of one object is under way at a time: blocks, and how many of them. s3fs takes ten of 50 MiB, half a gigabyte for
# each file that a process sends or fetches.
S3_BLOCK_BYTES = 8 << 20
_S3_BLOCKS = 4
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
_IDENTIFY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN for temporary ones) or AWS_PROFILE, "
    "and AWS_ENDPOINT_URL for a server other than Amazon's"
)
# Names of exceptions, not classes: the clients that define them are optional and slow to import.
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"})
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed"})


def filesystem(uri: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """Open the fsspec file system of a URL.

    Parameters
    ----------
    uri : a local path or any URL that fsspec knows (``s3://bucket/prefix``, ``memory://folder``…)
    storage_options : options of that file system, without secrets; they win over the defaults set here

    Returns
    -------
    fs, path : the file system and the path of ``uri`` on it. S3 listings are not cached, because a process that lives
        for days (a scheduled worker) must see new files. Of an object on S3, 32 MiB are in memory at most

    Raises
    ------
    SourceError : no file system is known for the URL's scheme
    """
    import fsspec

    options = dict(storage_options or {})
    if uri.startswith(_S3_SCHEMES):
        # botocore reads this variable too, but fsspec keeps file systems by their arguments: named here, a changed
        # endpoint gives another file system instead of the old one.
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            options.setdefault("endpoint_url", endpoint)
        options.setdefault("use_listings_cache", False)
        options.setdefault("default_block_size", S3_BLOCK_BYTES)
        options.setdefault("max_concurrency", _S3_BLOCKS)
    try:
        fs, path = fsspec.core.url_to_fs(uri, **options)
    except (ValueError, ImportError) as error:
        raise SourceError(
            f"cannot open {uri}: {error}",
            expected="a local path, or a URL such as s3://bucket/prefix or memory://folder",
            todo="correct the scheme, or install the fsspec package that serves it",
        ) from error
    return fs, str(path)


def explain_remote_error(error: BaseException, uri: str, kind: type[VecmillError] = SourceError) -> VecmillError:
    """Turn what a remote file system raised into an error for the person who has to act on it.

    Parameters
    ----------
    error : what s3fs, botocore, aiohttp or another fsspec file system raised
    uri : what was being read, listed or written
    kind : class of the answer where neither credentials nor permissions are to blame; ``StoreError`` for artifacts

    Returns
    -------
    VecmillError : ``CredentialsError`` or ``kind``, to be raised ``from error``; never shows a credential
    """
    if isinstance(error, VecmillError):
        return error
    causes = list(chain(error))
    names = {type(cause).__name__ for cause in causes}
    code = next((found for cause in causes if (found := error_code(cause))), "")
    said = _without_secrets(str(error)) or type(error).__name__
    if names & _NO_CREDENTIALS:
        return CredentialsError(f"no credentials for {uri} ({said})", todo=_IDENTIFY)
    if code in _EXPIRED:
        return CredentialsError(f"the credentials for {uri} are no longer valid ({said})", todo=_IDENTIFY)
    if isinstance(error, PermissionError) or code in {"403", "AccessDenied"}:
        return CredentialsError(
            f"access to {uri} was refused ({code + ': ' if code else ''}{said})",
            expected="credentials that may list and read it (and write, for an artifact store)",
            todo=_IDENTIFY,
        )
    if code == "NoSuchBucket":
        return kind(
            f"no such bucket: {_bucket(uri)} (from {uri})",
            todo=f"check the bucket's name, its region and the endpoint ({_endpoint()})",
        )
    if isinstance(error, FileNotFoundError):
        return kind(f"{uri} does not exist", todo="check the path; object names are case-sensitive")
    passing = SourceUnavailable if issubclass(kind, UserError) else StoreUnavailable  # nobody's input is to blame
    if names & UNREACHABLE or isinstance(error, ConnectionError | TimeoutError):
        return passing(
            f"cannot reach the storage of {uri} at {_endpoint()} ({said})",
            todo="check AWS_ENDPOINT_URL, the network and that the server runs, then run again",
        )
    if "FileExpired" in names:
        return kind(f"{uri} changed while it was being read", todo="run again when nothing writes to it")
    if may_pass(error):
        return passing(
            f"{uri} cannot be used ({type(error).__name__}: {said})",
            todo="the storage asks for patience: run again later, and see its own log if that does not help",
        )
    return kind(
        f"{uri} cannot be used ({type(error).__name__}: {said})", todo="check the URL and the storage's own log"
    )


def mark_of(uri: str, filesystem: Any) -> str:
    """Tells a store from others whose copies lie in the same cache: by its URL and the server that has it."""
    endpoint = str(getattr(filesystem, "storage_options", {}).get("endpoint_url") or "")
    return hashlib.sha256(f"{endpoint.rstrip('/')} {uri}".encode()).hexdigest()[:12]


def sha256_of_object(filesystem: Any, target: str) -> str:
    """sha256 of an object, read from its beginning to its end."""
    digest = hashlib.sha256()
    with filesystem.open(target, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _without_secrets(message: str) -> str:
    for variable in _SECRET_VARIABLES:
        value = os.environ.get(variable, "")
        # A test server's "a" or "minio" is no secret, and would be found in every path.
        if len(value) >= 8:
            message = message.replace(value, f"<{variable}>")
    return message.strip().rstrip(".")


def _bucket(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "its default address"
