"""Records: what a memory is made of, and the bytes (payload) that certify it.

A payload is a function of the CID's inputs, so a record certifies itself: decode, recompute, compare. Layout and rules:
`docs/formats.md`, §1-2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from engram import cid as cids
from engram.decoding import UNDECODABLE
from engram.errors import TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.native import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

OURS = "engram."
"""Metadata keys that start so are Engram's own; a caller may not set them."""

EMPTY_METADATA = b"{}"

CANONICAL_MODEL = "v1"
CANONICAL_DIM = 384
"""The canonical embedder's model version, which names its fingerprint (`docs/embedding.md`), and its dimension."""

_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * 17
"""What may be an integer beyond 2^53: JCS prints the shortest digits that name its double, zeros behind them.

Found by translating all digits to one, which takes a sixth of a regular expression's time.
"""


class Record(msgspec.Struct, frozen=True):
    """A decoded record. `embedding`: little-endian float32, empty where there is no public vector."""

    digest: bytes
    flags: int
    embedding: bytes
    metadata_json: bytes
    model_version: str
    blob: bytes
    content: bytes

    @property
    def cid(self) -> cids.Cid:
        """The record's CID."""
        return cids.from_digest(self.digest)

    @property
    def dim(self) -> int:
        """The embedding's dimension, 0 where there is none."""
        return len(self.embedding) // 4

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, decoded."""
        return decode_metadata(self.metadata_json)

    @property
    def text(self) -> str | None:
        """The text, where the record holds one."""
        return text_of(self.flags, self.blob)


VECTOR, TEXT, SEALED = 0, 1, 2
"""Payload flags: no blob; the blob is the content itself; sealed by its owner."""


def text_of(flags: int, blob: Buffer) -> str | None:
    """Give the text that a payload's blob is; None where it is none, since the formats allow any bytes there."""
    if flags != TEXT:
        return None
    try:
        return str(blob, "utf-8")
    except UnicodeDecodeError:
        return None


def stored_vector(vector: Any, *, field: str = "vector") -> bytes:
    """Round a vector to the float32 bytes that are stored and named; -0.0 becomes 0.0.

    Takes bytes of little-endian float32, a one-dimensional float32 or float64 buffer (numpy, array), or numbers.
    `Unprocessable` for NaN, infinity, overflow, a zero vector, an empty one, or over 4096 dimensions.
    """
    try:
        data = _core.f32_bytes(vector)
    except (ValueError, TypeError) as error:
        raise Unprocessable(f"{field}: {error}", field=field) from None
    if not data:
        raise Unprocessable(f"{field}: it is empty, and needs 1 to {LIMITS.dim} numbers", field=field)
    return data


def canonical_metadata(metadata: dict[str, Any] | None, *, ours: bool = False) -> bytes:
    """Write metadata as its canonical JSON (RFC 8785), at most 4096 bytes.

    `Unprocessable` names the path of what cannot be kept; `TooLarge` the size. `ours` admits keys of Engram's own.
    """
    if metadata is None:
        return EMPTY_METADATA
    if not isinstance(metadata, dict):
        raise Unprocessable(f"metadata: a {type(metadata).__name__}, where a map was expected", field="metadata")
    data = _canonical(metadata)
    if not ours:
        for key in metadata:
            if key.startswith(OURS):
                raise Unprocessable(f"metadata: the key {key!r} starts with {OURS!r}, which is ours", field="metadata")
    if len(data) > LIMITS.metadata_bytes:
        raise TooLarge(
            f"metadata: {len(data)} bytes of JSON are over the limit of {LIMITS.metadata_bytes}", field="metadata"
        )
    return data


def metadata_from_json(text: str | bytes) -> dict[str, Any]:
    """Parse metadata from JSON text, strictly: duplicate keys, NaN and lone surrogates are refused."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        canonical = _core.canonical_json(data)
    except ValueError as error:
        raise _refused(error) from None
    if not canonical.startswith(b"{"):
        raise Unprocessable("metadata: not a JSON object", field="metadata")
    return decode_metadata(canonical)


def decode_metadata(canonical: bytes) -> dict[str, Any]:
    """Decode metadata from its canonical JSON, each number as the double that it is.

    One that is whole and of 64 bits comes as an int; beyond them as a float, since msgpack has no integer for it.
    """
    decoded: dict[str, Any]
    if _LONG_INTEGER in canonical.translate(_DIGITS_AS_ZEROS):
        decoded = json.loads(canonical, parse_int=_number)
    else:
        decoded = msgspec.json.decode(canonical)
    return decoded


def _number(digits: str) -> int | float:
    number = float(digits)
    return int(number) if -(2.0**63) <= number < 2.0**63 else number


def patch(content: dict[str, Any]) -> bytes:
    """Write a patch body: the canonical JSON of `content`, up to 1 MiB."""
    return _canonical(content)


def text_in_patch(data: bytes, name: str) -> str | None:
    """Give the text that a patch body has under a name; None where it is no patch, or has none."""
    try:
        found = msgspec.json.decode(data, type=dict[str, Any]).get(name)
    except UNDECODABLE:
        return None
    return found if isinstance(found, str) else None


def encode_text(text: str, embedding: bytes, metadata_json: bytes, model_version: str) -> tuple[bytes, bytes]:
    """Encode a text's record: (CID digest, payload). The parts are as stored."""
    return _encode(TEXT, embedding, metadata_json, model_version, text.encode(), None)


def encode_vector(embedding: bytes, metadata_json: bytes, model_version: str) -> tuple[bytes, bytes]:
    """Encode the record of a vector without content: (CID digest, payload)."""
    return _encode(VECTOR, embedding, metadata_json, model_version, b"", None)


def decode(payload: Buffer) -> Record:
    """Decode and certify a payload; `Unprocessable` where a byte is not as encoding its own fields would give it."""
    try:
        digest, flags, embedding, metadata_json, model_version, blob, content = _core.decode_record(payload)
    except ValueError as error:
        raise Unprocessable(str(error), field="payload") from None
    return Record(digest, flags, embedding, metadata_json, model_version, blob, content)


def check_model_version(text: str) -> None:
    """Refuse a model version that is not 1 to 128 of `[A-Za-z0-9._/:@+-]`."""
    try:
        _core.cid_digest(b"", cids.NO_CONTENT, 0, EMPTY_METADATA, text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise Unprocessable(str(error), field="model_version") from None


def _encode(
    flags: int, embedding: bytes, metadata_json: bytes, model_version: str, blob: bytes, content: bytes | None
) -> tuple[bytes, bytes]:
    try:
        return _core.encode_record(flags, embedding, metadata_json, model_version.encode(), blob, content)
    except ValueError as error:
        raise Unprocessable(str(error), field="record") from None


def _canonical(value: dict[str, Any]) -> bytes:
    try:
        return _core.canonical(value)
    except ValueError as error:
        raise _refused(error) from None


def _refused(error: ValueError) -> Unprocessable:
    path, reason = error.args
    return Unprocessable(f"metadata{path}: {reason}", field=f"metadata{path}")
