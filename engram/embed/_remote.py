"""Vectors from a server that speaks OpenAI's `/embeddings`: OpenAI, Ollama, vLLM, llama.cpp, TEI and others.

The texts leave this machine. What comes back is checked whole: how many, in what order, how long, finite. No text, no
key and nothing that the server wrote is in an error or a log; only its status, and a code of a known list.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from engram.decoding import UNDECODABLE
from engram.embed._http import Answer, GivenUp, NoAnswer, Server
from engram.embed._identity import fingerprint_of, version_of
from engram.embed._outcomes import Outcomes, not_unicode, was_stopped
from engram.embed._specs import REQUEST_TEXTS, RemoteSpec
from engram.embed._split import Span, Split
from engram.embed._url import parse_url
from engram.errors import EngramError, ModelNotReady, TooLarge, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import stored_vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engram.embed._port import EmbeddedTexts
    from engram.native._core import Stop

_REQUEST_BYTES = 256 * 1024
_ANSWER_BYTES = 32 * 1024 * 1024
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 3600.0
_SLICE_S = 0.1
_PROBE = "Engram"
_REFUSED = {400, 413, 422}
_PASSING = {429, 500, 502, 503, 504}
_KNOWN_CODES = {
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_api_key",
    "invalid_request_error",
    "model_not_found",
    "rate_limit_exceeded",
    "string_above_max_length",
}


class RemoteEmbedder:
    """A server's model. Texts that it refuses are refused one by one; there is no tokeniser here, so tokens are 0.

    `embed` raises nothing but `Unavailable` when it is stopped: a server that does not answer, or answers wrongly, is
    each text's refusal, an `Unavailable` with `retry_after_s` where waiting helps.
    """

    kernel = "remote"
    whole_bytes = LIMITS.text_bytes

    def __init__(self, spec: RemoteSpec, key: str | None, dim: int) -> None:
        self._spec = spec
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "engram"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._server = Server(parse_url(spec.url), answer_bytes=_ANSWER_BYTES)
        self._base64: bool | None = None
        """Whether the server understands `encoding_format`; None before it has answered."""
        self.dim = dim
        decides = {"backend": "openai", "dim": dim, "model": spec.model, "url": str(self._server.url)}
        self.fingerprint = fingerprint_of(decides)
        self.model_version = version_of("openai", spec.model, self.fingerprint)

    def embed(self, texts: Sequence[str], stop: Stop | None = None) -> EmbeddedTexts:
        """Embed each text, in requests of up to 32; see the class for what is refused."""
        outcomes = Outcomes(texts)
        stopped = _flag(stop)
        failure: EngramError | None = None
        for part in _parts(texts, outcomes.waiting):
            failure = failure or self._fill(texts, part, outcomes, stopped)
        if failure is not None:
            for index in outcomes.waiting:
                outcomes.refuse(index, failure)
        return outcomes.done()

    def count_tokens(self, text: str) -> int:
        """Give 0: only the server knows. Raises `BadRequest` for a lone surrogate."""
        if refusal := not_unicode(text):
            raise refusal
        return 0

    def split(self, text: str) -> Split:
        """Leave the text whole: where it would have to be cut, only the server knows."""
        return Split(self.count_tokens(text), (Span(0, len(text)),))

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def ask_dim(self, stop: Stop | None = None) -> int:
        """Ask the server how many numbers a vector has. Raises `Unavailable`."""
        try:
            rows = self._rows([_PROBE], _flag(stop))
        except _Refused as error:
            raise self._unavailable(f"refuses every text (HTTP {error.status}{error.code})") from None
        if not 1 <= len(rows[0]) // 4 <= LIMITS.dim:
            raise self._unavailable(f"gives vectors of {len(rows[0]) // 4} numbers, and 1 to {LIMITS.dim} are kept")
        return len(rows[0]) // 4

    # -- a part of a batch --

    def _fill(
        self,
        texts: Sequence[str],
        part: list[int],
        outcomes: Outcomes,
        stopped: Callable[[], bool],
    ) -> EngramError | None:
        """Embed a part; where the server refuses it, halve it until the text is found. Give what ends the batch."""
        try:
            rows = self._rows([texts[index] for index in part], stopped)
            vectors = [self._checked(row) for row in rows]
        except _Refused as refused:
            if len(part) == 1:
                outcomes.refuse(part[0], self._refusal(refused))
                return None
            middle = len(part) // 2
            first = self._fill(texts, part[:middle], outcomes, stopped)
            return first or self._fill(texts, part[middle:], outcomes, stopped)
        except Unavailable as error:
            if stopped():
                raise
            return error
        for index, vector in zip(part, vectors, strict=True):
            outcomes.keep(index, vector, 0)
        return None

    def _checked(self, row: bytes) -> bytes:
        if len(row) != 4 * self.dim:
            raise self._unavailable(f"gave {len(row) // 4} numbers for a text, and this model has dim {self.dim}")
        try:
            return stored_vector(row)
        except Unprocessable:
            raise self._unavailable("gave a vector with NaN, infinity or nothing but zeros") from None

    def _refusal(self, refused: _Refused) -> EngramError:
        kind = TooLarge if refused.too_long else Unprocessable
        return kind(f"text is refused by {self._name} (HTTP {refused.status}{refused.code})", field="text")

    # -- a request --

    def _rows(self, texts: list[str], stopped: Callable[[], bool]) -> list[bytes]:
        """Give the float32 bytes of each text's vector, in order. Raises `_Refused`, `Unavailable`."""
        if self._base64 is not False:
            try:
                rows = self._asked(texts, stopped, {"encoding_format": "base64"})
            except _Refused:
                if self._base64:
                    raise
            else:
                self._base64 = True
                return rows
        rows = self._asked(texts, stopped, {})
        self._base64 = False
        return rows

    def _asked(self, texts: list[str], stopped: Callable[[], bool], more: dict[str, str]) -> list[bytes]:
        body = msgspec.json.encode({"model": self._spec.model, "input": texts} | more)
        answer = self._answered(body, stopped)
        if answer.status == 200:
            return self._read(answer.body, len(texts))
        code = _code(answer.body)
        if answer.status in _REFUSED:
            raise _Refused(answer.status, code)
        said = f"(HTTP {answer.status}{code})"
        if 300 <= answer.status < 400:
            raise self._unavailable(f"redirects {said}, which is not followed: give the final address in url")
        if answer.status in (401, 403):
            variable = self._spec.api_key_env
            raise self._unavailable(f"wants another key {said}: {variable or 'api_key_env'} says which is sent")
        if answer.status == 404:
            raise self._unavailable(f"has no such address or no model {self._spec.model!r} {said}")
        raise self._unavailable(f"answers with an error {said}")

    def _answered(self, body: bytes, stopped: Callable[[], bool]) -> Answer:
        """Post until an answer comes that another try would not change. Raises `Unavailable`."""
        deadline = time.monotonic() + self._spec.timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                answer = self._server.post("/embeddings", body, self._headers, deadline, stopped)
            except NoAnswer as error:
                failed, asked_s = str(error), None
            except TimeoutError:
                raise self._unavailable(f"gave no answer within {self._spec.timeout_s:g} s") from None
            except GivenUp:
                raise was_stopped() from None
            else:
                if answer.status not in _PASSING:
                    return answer
                failed = f"is overloaded or out of order (HTTP {answer.status}{_code(answer.body)})"
                asked_s = _seconds(answer.retry_after)
            pause_s = wait_s if asked_s is None else asked_s
            if time.monotonic() + pause_s >= deadline:
                raise self._unavailable(failed, retry_after_s=max(pause_s, 1.0))
            _pause(pause_s, stopped)
            wait_s *= 2

    def _read(self, body: bytes, count: int) -> list[bytes]:
        try:
            rows = msgspec.json.decode(body, type=_Reply).data
            if len(rows) != count:
                raise self._unavailable(f"gave {len(rows)} vectors for {count} texts")
            indices = [place if row.index is None else row.index for place, row in enumerate(rows)]
            if sorted(indices) != list(range(count)):
                raise self._unavailable("gave vectors whose index fits no text")
            placed = dict(zip(indices, rows, strict=True))
            return [_floats(placed[index].embedding) for index in range(count)]
        except (*UNDECODABLE, ValueError, Unprocessable):
            raise self._unavailable("gave an answer that is none of an /embeddings address") from None

    @property
    def _name(self) -> str:
        return f"the embedding server {self._server.url}"

    def _unavailable(self, what: str, retry_after_s: float | None = None) -> Unavailable:
        return Unavailable(f"{self._name} {what}", retry_after_s=retry_after_s)


def load_remote(spec: RemoteSpec, stop: Stop | None = None) -> RemoteEmbedder:
    """Give a server's model; asks the server only where `dim` is not configured. `Unavailable`, `ModelNotReady`."""
    key = _key(spec.api_key_env)
    if spec.dim is not None:
        return RemoteEmbedder(spec, key, spec.dim)
    asking = RemoteEmbedder(spec, key, 0)
    try:
        return RemoteEmbedder(spec, key, asking.ask_dim(stop))
    finally:
        asking.close()


class _Row(msgspec.Struct):
    embedding: str | list[float]
    index: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Row]


class _Refused(Exception):
    """The server understood and would not: one of the texts, or all of them."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__()
        self.status = status
        self.code = code

    @property
    def too_long(self) -> bool:
        return self.status == 413 or "length" in self.code


def _flag(stop: Stop | None) -> Callable[[], bool]:
    return bool if stop is None else lambda: stop.is_set


def _parts(texts: Sequence[str], indices: Sequence[int]) -> Iterator[list[int]]:
    """Cut a batch into requests."""
    part: list[int] = []
    size = 0
    for index in indices:
        cost = len(texts[index].encode())
        if part and (len(part) == REQUEST_TEXTS or size + cost > _REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(index)
        size += cost
    if part:
        yield part


def _floats(embedding: str | list[float]) -> bytes:
    if isinstance(embedding, str):
        row = base64.b64decode(embedding, validate=True)
        if len(row) % 4:
            raise binascii.Error("not whole numbers")
        return row
    return stored_vector(embedding)


def _code(body: bytes) -> str:
    """Give `, code` where the server gave a code that is known; nothing else of what it says is passed on."""
    try:
        said: Any = msgspec.json.decode(body)
    except UNDECODABLE:
        return ""
    error = said.get("error") if isinstance(said, dict) else None
    found = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    return next((f", {code}" for code in found if isinstance(code, str) and code in _KNOWN_CODES), "")


def _seconds(retry_after: str | None) -> float | None:
    """Read Retry-After: seconds, or a date; an hour at most."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdigit():
            return min(float(retry_after), _LONGEST_WAIT_S)
        seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        return min(max(0.0, seconds), _LONGEST_WAIT_S)
    except (ValueError, OverflowError):
        return None


def _pause(wait_s: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + wait_s
    while not stopped() and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(_SLICE_S, left_s))


def _key(variable: str | None) -> str | None:
    """Read the key. Raises `ModelNotReady` without it: the HTTP library would show a bad one in its message."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ModelNotReady(f"the environment variable {variable}, which api_key_env names, is not set")
    if not (key.isascii() and key.isprintable()):
        raise ModelNotReady(f"the environment variable {variable} holds no key: it has letters that no header takes")
    return key
