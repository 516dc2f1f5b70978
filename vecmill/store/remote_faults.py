"""What an error of remote storage says of itself: its code, its causes, and whether it may be gone when asked again."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping

# Names of exceptions, not classes: the clients that define them are optional and slow to import.
UNREACHABLE = frozenset(
    {
        "ClientConnectionError",
        "ClientConnectorDNSError",
        "ClientConnectorError",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "ConnectionTimeoutError",
        "EndpointConnectionError",
        "ReadTimeoutError",
        "ServerTimeoutError",
        "gaierror",
    }
)
# What servers answer when they are busy, restarting, or want fewer requests.
_PASSING_CODES = frozenset(
    {
        "InternalError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "429",
        "500",
        "502",
        "503",
        "504",
    }
)
# Connections that broke while an answer came in. Names, not classes: the clients are optional and slow to import.
_BROKEN = frozenset({"ClientPayloadError", "IncompleteReadError", "ResponseStreamingError", "ServerDisconnectedError"})
_PASSING_NUMBERS = frozenset({errno.EAGAIN, errno.EBUSY, errno.EIO})


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def error_code(error: BaseException) -> str:
    """The code an S3 server answered with ("AccessDenied"), empty where there is none."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def may_pass(error: BaseException) -> bool:
    """Whether what a remote file system raised may be gone when asked again; "not found" and "refused" are not."""
    for cause in chain(error):
        if isinstance(cause, FileNotFoundError | PermissionError):
            return False
        if isinstance(cause, ConnectionError | TimeoutError) or type(cause).__name__ in UNREACHABLE | _BROKEN:
            return True
        if error_code(cause) in _PASSING_CODES or str(_status(cause)) in _PASSING_CODES:
            return True
        if isinstance(cause, OSError) and cause.errno in _PASSING_NUMBERS:
            return True
    return False


def _status(error: BaseException) -> int:
    """The status of an HTTP answer, 0 where there is none."""
    status = getattr(error, "status", 0)
    response = getattr(error, "response", None)
    if not status and isinstance(response, Mapping):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status if isinstance(status, int) else 0
