"""Engram's errors: one class a wire code, so that a caller catches the same type behind every door.

Every error says what was wrong, in which field, against which limit, and what to do about it. Errors that can only
happen beside the disk (a folder in use, a damaged log) are here too, because the embedded API raises them.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EngramError(Exception):
    """Base of every error that Engram raises on purpose; catch it to catch them all."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        current: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.current = current
        """Of a `Conflict` over a key: the CID that the key names now, None where it names none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.field, self.retry_after_s, self.current))


def _rebuild(
    cls: type[EngramError], message: str, field: str | None, retry_after_s: float | None, current: str | None
) -> EngramError:
    return cls(message, field=field, retry_after_s=retry_after_s, current=current)


class BadRequest(EngramError):
    """The message itself is malformed: wrong type, unknown field, not UTF-8. Mend the call."""

    code = "bad_request"
    http_status = 400


class Unauthenticated(EngramError):
    """The call needs a signature, or the one it carries does not verify."""

    code = "unauthenticated"
    http_status = 401


class HelloRequired(EngramError):
    """A TLS connection must say `hello` first."""

    code = "hello_required"
    http_status = 401


class Forbidden(EngramError):
    """The caller is known and may not do this."""

    code = "forbidden"
    http_status = 403


class NotFound(EngramError):
    """No such record, key or namespace here, or none that the caller may see."""

    code = "not_found"
    http_status = 404


class UnknownMethod(EngramError):
    """The node has no method of this name; `hello` lists those it has."""

    code = "unknown_method"
    http_status = 404


class Conflict(EngramError):
    """Something else is there already, or a later operation has won."""

    code = "conflict"
    http_status = 409


class TooLarge(EngramError):
    """The input is over a limit, which the message names."""

    code = "too_large"
    http_status = 413


class Unprocessable(EngramError):
    """The message is well formed, and a value in it cannot be used: NaN, a wrong dimension, a refused key."""

    code = "unprocessable"
    http_status = 422


class RateLimited(EngramError):
    """Too many calls from this caller; wait `retry_after_s`."""

    code = "rate_limited"
    http_status = 429


class Internal(EngramError):
    """A bug of ours; the node's log has the details."""


class NotBuilt(EngramError):
    """Something that the first Engram promised and that this version does not do yet. RPC has no such code."""

    code = "not_built"
    http_status = 501


class Busy(EngramError):
    """The node's queue is full; wait `retry_after_s` and try again."""

    code = "busy"
    http_status = 503


class Unavailable(EngramError):
    """The node cannot be reached, is stopping, or a part of it is restarting."""

    code = "unavailable"
    http_status = 503


class ModelNotReady(EngramError):
    """The embedding model is still being fetched or loaded, or is missing; vectors work meanwhile."""

    code = "model_not_ready"
    http_status = 503


class DeadlineExceeded(EngramError):
    """The call took longer than its deadline. A write may still have happened: put it again, it is idempotent."""

    code = "deadline"
    http_status = 504


class FolderInUse(Unavailable):
    """Another process has this data folder open; talk to it as a node instead of opening the folder twice."""


class FolderRefused(Unavailable):
    """The data folder cannot be used: read-only, of a newer format, or of a draft state."""


class Forked(Unavailable):
    """This memory was opened by the parent process, before a fork, and is the parent's. Let both talk to a node."""


class StorageFailed(Unavailable):
    """The disk failed under an open store. Nothing acknowledged is lost; close, mend the disk, open again."""


class DiskFull(Unavailable):
    """There was no room for this write, and nothing of it stands. Free some, and write again; reads go on."""


class LogCorrupt(EngramError):
    """The event log is damaged; the message names the file, the offset, and what before it is still trustworthy."""


class BodiesCorrupt(EngramError):
    """A body segment is damaged; the message names the file and the offset."""


WIRE_ERRORS: dict[str, type[EngramError]] = {
    cls.code: cls
    for cls in (
        BadRequest, Unauthenticated, HelloRequired, Forbidden, NotFound, UnknownMethod, Conflict, TooLarge,
        Unprocessable, RateLimited, Internal, Busy, Unavailable, ModelNotReady, DeadlineExceeded,
    )
}  # fmt: skip
"""Class of each error code on the wire; an unknown code (a newer node) is an `EngramError`."""


def from_wire(
    code: str,
    message: str,
    field: str | None = None,
    retry_after_s: float | None = None,
    current: str | None = None,
) -> EngramError:
    """Give the error that a peer sent, as an exception to raise."""
    cls = WIRE_ERRORS.get(code, EngramError)
    return cls(message, field=field, retry_after_s=retry_after_s, current=current)
