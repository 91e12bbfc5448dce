"""MessagePack-RPC without IO: bytes in, events out; answers in, bytes out. `formats.md` §6 defines the bytes.

Theory of operation. A stream is a row of msgpack values without any frame around them. The native scanner finds where
each ends and keeps what is unfinished. A whole message takes three looks, each cheaper than the harm it prevents: is it
a request at all (then it has an id to be answered under); is it fit to be decoded (keys distinct, strings UTF-8, no
ext types: msgspec alone would let these pass); does it fit the method's Struct. What fails the first is answered by a
notification, what fails a later one by an error under the request's id, and the connection lives. A stream that is not
msgpack, or over a limit, has no next message to find: a last notification, and the connection closes.

A server keeps the ids in flight. One that comes again meanwhile is refused under that id, and the first call is still
answered: as many answers leave as requests came, and no call can hide another.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import BadRequest, EngramError, TooLarge, Unavailable, Unprocessable, from_wire
from engram.limits import LIMITS, Limits
from engram.native._core import MessageScanner, check_message
from engram.wire._messages import METHODS
from engram.wire._messages._base import Answer, ErrorInfo, Request
from engram.wire._refusals import from_fault, from_flaw, from_validation, shown, unknown_method

if TYPE_CHECKING:
    from collections.abc import Iterator

_REQUEST, _RESPONSE, _NOTIFICATION = 0, 1, 2
_IDS = 2**32

CallId = Annotated[int, msgspec.Meta(ge=0, lt=_IDS)]

_encode = msgspec.msgpack.Encoder().encode
_envelope = msgspec.msgpack.Decoder(tuple[Literal[0], CallId, msgspec.Raw, msgspec.Raw])
_response = msgspec.msgpack.Decoder(tuple[Literal[1], CallId, ErrorInfo | None, msgspec.Raw])
_notification = msgspec.msgpack.Decoder(tuple[Literal[2], str, tuple[dict[str, Any]]])
_text = msgspec.msgpack.Decoder(str)
_params = {name: msgspec.msgpack.Decoder(tuple[request]) for name, (request, _) in METHODS.items()}  # type: ignore[valid-type]
_answers = {name: msgspec.msgpack.Decoder(answer) for name, (_, answer) in METHODS.items()}


class Call(msgspec.Struct, frozen=True):
    """A request to carry out and to answer under `id`. `size_bytes` is its message's."""

    id: int
    request: Request[Any]
    size_bytes: int


class BadCall(msgspec.Struct, frozen=True):
    """A request that is refused under its id; the connection lives."""

    id: int
    error: EngramError


class Notice(msgspec.Struct, frozen=True):
    """A message that is no request: the peer is told by a notification; the connection lives."""

    error: EngramError


class Fatal(msgspec.Struct, frozen=True):
    """The end of what can be understood: the peer is told by a notification, then the connection closes."""

    error: EngramError


Event = Call | BadCall | Notice | Fatal


class ServerConnection:
    """The server's side of one connection."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._scanner = MessageScanner(limits.message_depth, limits.message_bytes)
        self._messages: deque[bytes] = deque()
        self._fault: str | None = None
        self._closed = False
        self._in_flight: set[int] = set()

    @property
    def pending_bytes(self) -> int:
        """Bytes held of a message that is not whole yet."""
        return self._scanner.pending

    def receive(self, data: bytes) -> Iterator[Event]:
        """Take what came; give its events, each decoded only when it is asked for.

        So a chunk of thousands of small messages costs no more than their bytes until each one's turn. Events that
        are not taken come with the next call.
        """
        messages, self._fault = self._scanner.feed(data)
        self._messages.extend(messages)
        return self._events()

    def send_result(self, call_id: int, answer: Answer) -> bytes:
        """Give the bytes of a call's answer; of `too_large` instead where the peer would refuse its size."""
        data = _encode([_RESPONSE, call_id, None, answer])
        if len(data) <= self._limits.message_bytes:
            self._in_flight.discard(call_id)
            return data
        limit = self._limits.message_bytes
        return self.send_error(
            call_id, TooLarge(f"the answer has {len(data)} bytes, and a message at most {limit}; ask for less at once")
        )

    def send_error(self, call_id: int, error: EngramError) -> bytes:
        """Give the bytes of a call's error."""
        self._in_flight.discard(call_id)
        return _error(call_id, error)

    def send_refusal(self, event: BadCall | Notice | Fatal) -> bytes:
        """Give the bytes that answer an event which is no call."""
        if isinstance(event, BadCall):
            return _error(event.id, event.error)
        return self.send_notification("error", error_info(event.error))

    def send_notification(self, method: str, params: msgspec.Struct) -> bytes:
        """Give the bytes of a notification."""
        return _encode([_NOTIFICATION, method, [params]])

    def _events(self) -> Iterator[Event]:
        while self._messages:
            yield self._event(self._messages.popleft())
        if self._fault is not None and not self._closed:
            self._closed = True
            yield Fatal(from_fault(self._fault, self._limits))

    def _event(self, message: bytes) -> Event:
        try:
            _, call_id, method, params = _envelope.decode(message)
        except msgspec.ValidationError as error:
            return Notice(BadRequest(f"not a request [0, id, method, [params]] with an id of 32 bits: {error}"))
        if call_id in self._in_flight:
            return BadCall(call_id, BadRequest(f"id {call_id} is in flight already", field="id"))
        try:
            request = _decoded(message, method, params, self._limits)
        except EngramError as error:
            return BadCall(call_id, error)
        self._in_flight.add(call_id)
        return Call(call_id, request, len(message))


def _decoded(message: bytes, method: msgspec.Raw, params: msgspec.Raw, limits: Limits) -> Request[Any]:
    _check(message, limits)
    try:
        name = _text.decode(method)
    except msgspec.ValidationError:
        raise BadRequest("the method's name must be a string", field="method") from None
    decoder = _params.get(name)
    if decoder is None:
        raise unknown_method(name, METHODS)
    try:
        return decoder.decode(params)[0]
    except msgspec.ValidationError as error:
        raise from_validation(error, METHODS[name][0]) from None


def _check(message: bytes, limits: Limits) -> None:
    if (flaw := check_message(message, limits.message_depth)) is not None:
        raise from_flaw(*flaw, limits)


def check_sendable(request: Request[Any], limits: Limits = LIMITS) -> None:
    """Refuse a request whose values no wire carries, with RPC's errors; whatever its size."""
    _check(_encode_request(0, request), limits)


def checked(request: Request[Any]) -> Request[Any]:
    """Give the request as a node would get it over the wire, with the same errors: the embedded memory's calls."""
    data = _encode_request(0, request)
    return _decoded(data, *_envelope.decode(data)[2:], LIMITS)


class Response(msgspec.Struct, frozen=True):
    """What became of the call `id`: its answer, or its error."""

    id: int
    outcome: Answer | EngramError


class Notification(msgspec.Struct, frozen=True):
    """What the server says unasked; `error` where it says that something is wrong."""

    method: str
    params: dict[str, Any]
    error: EngramError | None = None


class ClientConnection:
    """The client's side of one connection."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._scanner = MessageScanner(limits.message_depth, limits.message_bytes)
        self._in_flight: dict[int, str] = {}
        self._next_id = 0

    def call(self, request: Request[Any]) -> tuple[int, bytes]:
        """Give a new call's id and bytes. Raise `TooLarge` or `Unprocessable` for what no node would take."""
        call_id = self._new_id()
        data = _encode_request(call_id, request)
        if len(data) > self._limits.message_bytes:
            raise TooLarge(
                f"the {request.method} has {len(data)} bytes, and a message at most {self._limits.message_bytes}"
            )
        _check(data, self._limits)
        self._in_flight[call_id] = request.method
        return call_id, data

    def receive(self, data: bytes) -> list[Response | Notification]:
        """Take what came; give what is whole. Raise `Unavailable` when the peer speaks something else."""
        messages, fault = self._scanner.feed(data)
        if fault is not None:
            raise Unavailable(f"the peer does not speak Engram's RPC: {from_fault(fault, self._limits)}")
        return [self._take(message) for message in messages]

    def _take(self, message: bytes) -> Response | Notification:
        try:
            if message[1:2] == bytes([_NOTIFICATION]):
                _, method, (params,) = _notification.decode(message)
                return Notification(method, params, _told(params) if method == "error" else None)
            _, call_id, error, result = _response.decode(message)
            method = self._in_flight.pop(call_id)
            if error is not None:
                return Response(call_id, _error_of(error))
            return Response(call_id, _answers[method].decode(result))
        except KeyError as missing:
            raise Unavailable(f"the peer answered call {missing}, which is not in flight") from None
        except UNDECODABLE as error:
            raise Unavailable(f"the peer does not speak this version of Engram's RPC: {shown(str(error))}") from None

    def _new_id(self) -> int:
        while self._next_id in self._in_flight:
            self._next_id = (self._next_id + 1) % _IDS
        call_id, self._next_id = self._next_id, (self._next_id + 1) % _IDS
        return call_id


def _encode_request(call_id: int, request: Request[Any]) -> bytes:
    try:
        return _encode([_REQUEST, call_id, request.method, [request]])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = _reason(error)
    field = next((name for name in request.__struct_fields__ if not _encodes(getattr(request, name))), None)
    named = f"{field}: " if field else ""
    raise Unprocessable(f"{named}the {request.method} holds a value that cannot be sent: {reason}", field=field)


def _encodes(value: Any) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _reason(error: Exception) -> str:
    return "a string with a lone surrogate" if isinstance(error, UnicodeEncodeError) else str(error)


def error_info(error: EngramError) -> ErrorInfo:
    """Give an error as it travels."""
    message = error.message.encode("utf-8", "replace").decode()
    return ErrorInfo(
        code=error.code,
        message=message,
        field=error.field,
        retry_after_s=error.retry_after_s,
        current=error.current,
    )


def _error(call_id: int, error: EngramError) -> bytes:
    return _encode([_RESPONSE, call_id, error_info(error), None])


def _error_of(info: ErrorInfo) -> EngramError:
    return from_wire(info.code, info.message, info.field, info.retry_after_s, info.current)


def _told(params: dict[str, Any]) -> EngramError:
    return _error_of(msgspec.convert(params, ErrorInfo))
