"""Check memories before they are sent, so that one bad value costs its item and not the batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from engram.errors import BadRequest, EngramError, TooLarge, Unprocessable
from engram.identity import PUBLIC_NAMESPACE, head_key
from engram.limits import LIMITS
from engram.record import canonical_metadata, decode_metadata
from engram.sdk._vectors import f32_bytes
from engram.wire import Expect, Item

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = UNSET
"""The `expect` that takes whatever a key names."""

_FIELDS = ("text", "vector", "metadata", "key", "expect")
_BATCH_BYTES = 2 * 1024 * 1024
"""Well under the message limit, so that what was estimated too low still fits."""
_BATCH_TEXTS = 100
_BATCH_CHARACTERS = 100_000
"""Texts, and characters of text, to embed in one call: a slow node embeds them well within its deadline."""

Slot = Item | EngramError
"""An item, or what was wrong with it: it keeps its place."""


def make_item(
    text: object = None,
    vector: object = None,
    metadata: object = None,
    key: object = None,
    expect: object = ANY,
) -> Item:
    """Give the item to send. Raise `BadRequest` for a wrong type, `Unprocessable` for a value that cannot be kept."""
    if text is None and vector is None:
        raise BadRequest("a memory needs a `text`, a `vector`, or both", field="text")
    return Item(
        text=None if text is None else clean_text(text, "text"),
        vector=None if vector is None else f32_bytes(vector),
        metadata=None if metadata is None else clean_metadata(metadata),
        key=None if key is None else clean_key(key),
        expect=clean_expect(expect),
    )


def item_of(given: object) -> Item:
    """Give the item for a text, or for a mapping of an item's fields. Raise as `make_item` does."""
    if isinstance(given, str):
        return make_item(text=given)
    if not isinstance(given, Mapping):
        raise BadRequest(f"expected a text or a dict of {', '.join(_FIELDS)}, got {type(given).__name__}")
    for name in given:
        if name not in _FIELDS:
            raise BadRequest(f"no field {name!r:.80}; the fields are {', '.join(_FIELDS)}", field=f"{name!s:.80}")
    return make_item(**given)


def slots_of(items: Iterable[object]) -> Iterator[Slot]:
    """Give each item as a slot, lazily."""
    for given in many(items, "items"):
        try:
            yield item_of(given)
        except EngramError as error:
            yield error


def many(given: object, field: str) -> Iterable[Any]:
    """Give what was given as many. Raise `BadRequest` for one, which would fall apart into letters or keys."""
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        raise BadRequest(f"{field}: expected a list of them, got one {type(given).__name__}", field=field)
    return given


def clean_text(text: object, field: str) -> str:
    """Give the text. Raise `BadRequest` if it is none, `Unprocessable` for a lone surrogate, `TooLarge`."""
    if not isinstance(text, str):
        raise BadRequest(f"{field}: expected a string, got {type(text).__name__}", field=field)
    if len(text) > LIMITS.text_bytes:
        raise TooLarge(
            f"{field}: {len(text)} characters are over the limit of {LIMITS.text_bytes} bytes; split it", field=field
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unprocessable(
                f"{field}: character {error.start} is a lone surrogate, which UTF-8 cannot say", field=field
            ) from None
    return text


def clean_key(key: object) -> str:
    """Give the key. Raise `BadRequest` if it is no string, `Unprocessable` for one that no node takes."""
    if not isinstance(key, str):
        raise BadRequest(f"key: expected a string, got {type(key).__name__}", field="key")
    head_key(PUBLIC_NAMESPACE, key)
    return key


def clean_expect(expect: object) -> Expect:
    """Give what a key must name. Raise `BadRequest` for what is neither a CID, nor None, nor left out."""
    if expect is UNSET or expect is None or isinstance(expect, str):
        return expect
    raise BadRequest(f"expect: expected a CID or None, got {type(expect).__name__}", field="expect")


def clean_metadata(metadata: object) -> dict[str, Any]:
    """Give the metadata as it travels: tuples as lists. Raise for what a record cannot hold, naming the path."""
    if not isinstance(metadata, dict):
        raise BadRequest(f"metadata: expected a dict, got {type(metadata).__name__}", field="metadata")
    return decode_metadata(canonical_metadata(metadata))


def batches(slots: Iterable[Slot]) -> Iterator[list[Slot]]:
    """Cut slots into batches that fit one call each: items, bytes and texts to embed."""
    batch: list[Slot] = []
    size = texts = characters = 0
    for slot in slots:
        cost = _size(slot)
        text = slot.text if isinstance(slot, Item) and slot.vector is None else None
        full = len(batch) == LIMITS.batch_items
        if text is not None:
            full |= texts == _BATCH_TEXTS or characters + len(text) > _BATCH_CHARACTERS
        if batch and (full or size + cost > _BATCH_BYTES):
            yield batch
            batch, size, texts, characters = [], 0, 0, 0
        batch.append(slot)
        size += cost
        texts += text is not None
        characters += len(text or "")
    if batch:
        yield batch


def _size(slot: Slot) -> int:
    if isinstance(slot, EngramError):
        return 0
    text = 0 if slot.text is None else len(slot.text) if slot.text.isascii() else 4 * len(slot.text)
    metadata = len(msgspec.msgpack.encode(slot.metadata)) if slot.metadata else 0
    return 64 + text + len(slot.vector or b"") + metadata
