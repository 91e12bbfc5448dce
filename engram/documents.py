"""How a long text is kept: a document, which is all of it, and its chunks. `docs/long_text.md`.

What makes a record the one or the other stands in its metadata, under keys of Engram's own. So the CIDs cover it, and
whoever folds the log knows it from the payloads alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engram import cid as cids
from engram.errors import EngramError, TooLarge
from engram.limits import LIMITS
from engram.record import OURS, canonical_metadata, decode_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLITTER_KEY = "engram.splitter"
PARENT_KEY = "engram.parent"
CHUNK_KEY = "engram.chunk"
SPAN_KEY = "engram.span"

_PLACE = (PARENT_KEY, CHUNK_KEY, SPAN_KEY)
_OURS = b'"' + OURS.encode()
_SOME_CID = cids.from_digest(bytes(32))


class Role(msgspec.Struct, frozen=True):
    """What a record is: a document, or a chunk of the document `parent` (a digest), or neither."""

    document: bool = False
    parent: bytes | None = None


_NEITHER = Role()


class Place(msgspec.Struct, frozen=True):
    """Where a chunk stands: in which document, its number from 0, and its code points, the second not included."""

    parent: str
    index: int
    span: tuple[int, int]


def role_of(metadata_json: bytes) -> Role:
    """Tell what the record with this metadata is."""
    if _OURS not in metadata_json:
        return _NEITHER
    metadata = decode_metadata(metadata_json)
    if (place := place_of(metadata)) is not None:
        return Role(parent=cids.digest_of(place.parent))
    return Role(document=isinstance(metadata.get(SPLITTER_KEY), str))


def place_of(metadata: dict[str, Any]) -> Place | None:
    """Give a chunk's place; None for the metadata of anything else."""
    try:
        place = msgspec.convert(
            {"parent": metadata[PARENT_KEY], "index": metadata[CHUNK_KEY], "span": metadata[SPAN_KEY]}, Place
        )
        cids.digest_of(place.parent)
    except (KeyError, msgspec.ValidationError, EngramError):
        return None
    return place


def document_metadata(metadata_json: bytes, splitter: str) -> bytes:
    """Give the metadata of a document from its caller's; `TooLarge` over 4096 bytes."""
    return canonical_metadata(decode_metadata(metadata_json) | {SPLITTER_KEY: splitter}, ours=True)


def chunk_metadata(document_json: bytes, parent: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Give the metadata of each of a document's chunks; `TooLarge` over 4096 bytes."""
    metadata = decode_metadata(document_json)
    return [
        canonical_metadata(metadata | {PARENT_KEY: parent, CHUNK_KEY: index, SPAN_KEY: list(span)}, ours=True)
        for index, span in enumerate(spans)
    ]


def check_room(metadata_json: bytes, splitter: str, spans: Sequence[tuple[int, int]]) -> None:
    """Refuse, with `TooLarge`, what cannot be kept as one operation: too many chunks, or no room in their metadata.

    The events of all chunks stand in one frame of the log, which is what bounds their number.
    """
    if len(spans) > LIMITS.text_chunks:
        raise TooLarge(
            f"text: {len(spans)} chunks are over the limit of {LIMITS.text_chunks} for one text; split it", field="text"
        )
    try:
        chunk_metadata(document_metadata(metadata_json, splitter), _SOME_CID, spans)
    except TooLarge:
        [*_, last] = chunk_metadata(document_metadata(b"{}", splitter), _SOME_CID, spans)
        left = LIMITS.metadata_bytes - len(last) + 1  # a comma joins the two
        raise TooLarge(
            f"metadata: {len(metadata_json)} bytes of JSON are over the {left} left for a text of {len(spans)} chunks: "
            f"the limit is {LIMITS.metadata_bytes}, and each chunk's metadata says its place in the text too",
            field="metadata",
        ) from None


def document_metadata_of(chunk: dict[str, Any]) -> dict[str, Any]:
    """Give the metadata of the document that a chunk with this metadata belongs to."""
    return {key: value for key, value in chunk.items() if key not in _PLACE}
