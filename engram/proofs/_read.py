"""Read documents from bytes that anyone may have made: strictly, in bounded memory and time; and write them.

A document is refused unless writing what was read gives all that stands in it: so an unknown field, a key twice, or
base64 that is not its own shortest form never passes for what was checked.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from engram.decoding import UNDECODABLE
from engram.native._core import check_json
from engram.proofs._documents import FORMATS, Document, Evidence, Note, Transcript
from engram.proofs._errors import Unreadable
from engram.wire import Proof, Receipt

DOCUMENT_BYTES = 96 * 1024 * 1024
"""The most of a document that is read: the transcript of 64 records of 1 MiB."""

_DEPTH = 8
_SHOWN = 60
_decode = msgspec.json.Decoder(Proof | Receipt | Transcript | Evidence).decode
_kind = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

write = msgspec.json.Encoder().encode
"""Write a document, but for a bare note, as JSON: bytes are base64."""

write_canonical = msgspec.json.Encoder(order="sorted").encode
"""Write a document as canonical JSON (RFC 8785): all that stands in one is ASCII, or numbers below 2^53."""


_FLAWS = {
    "key_twice": "a key that comes twice",
    "not_utf8": "bytes that are not UTF-8",
    "surrogate": "half of a surrogate pair",
    "too_deep": "maps and lists that are nested too deep",
    "too_many": "too many maps and lists",
    "trailing": "something that follows it",
}
"""What `check_json` finds, but for what it expected."""


def read(data: bytes) -> Document:
    """Read a proof, receipt, transcript, evidence or checkpoint; `Unreadable` says why it is none."""
    if len(data) > DOCUMENT_BYTES:
        raise Unreadable(f"over {DOCUMENT_BYTES:,} bytes, which no document has")
    if not data.strip():
        raise Unreadable("it is empty")
    if data.startswith(b"engram/node/"):
        return Note(note=data)
    if (flaw := check_json(data, _DEPTH)) is not None:
        said = _FLAWS.get(flaw[0], f"{flaw[0]} was expected")
        raise Unreadable(f"neither a checkpoint nor the JSON of a document: {said} at byte {flaw[2]:,}")
    try:
        document: Document = _decode(data)
    except UNDECODABLE as error:
        raise Unreadable(_why(data, error)) from None
    if (spare := _spare(msgspec.json.decode(data), msgspec.to_builtins(document), "")) is not None:
        raise Unreadable(f"`{spare}` is not written as Engram writes it, or not known here", field=spare)
    return document


def _why(data: bytes, error: Exception) -> str:
    try:
        kind = msgspec.json.decode(_kind(data)["format"], type=str)
    except (*UNDECODABLE, KeyError):
        return f"it has no `format`, which is one of {', '.join(sorted(FORMATS))}"
    if kind not in FORMATS:
        return f"its format is {kind[:_SHOWN]!r}, not one of {', '.join(sorted(FORMATS))}"
    return f"it is no {kind}: {error}"


def _spare(raw: Any, known: Any, path: str) -> str | None:
    """Find where a document says something else than what was read of it; null is as good as left out."""
    if isinstance(raw, dict) and isinstance(known, dict):
        for key, value in raw.items():
            if value is None and key not in known:
                continue
            if key not in known or (found := _spare(value, known[key], f"{path}.{key}".lstrip("."))) is not None:
                return cast("str", found) if key in known else f"{path}.{key[:_SHOWN]}".lstrip(".")
        return None
    if isinstance(raw, list) and isinstance(known, list) and len(raw) == len(known):
        pairs = enumerate(zip(raw, known, strict=True))
        return next((f for at, pair in pairs if (f := _spare(*pair, f"{path}[{at}]")) is not None), None)
    return None if raw == known else path
