"""What the memories of a plan are to be in the bodies, from the plan alone: of what was erased nothing is left to read.

Formats §1, by code that shares none with the node's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from engram.testing import _plan as plan
from engram.testing._embedder import vector_of
from engram.testing._oracle import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram.testing._plan import Memory

_SPLITTER = "split/1"
_CANONICAL = "v1"


def contents(memories: Iterable[Memory]) -> dict[str, Payload]:
    """Give, by its CID, every record that these memories may be kept as."""
    found: dict[str, Payload] = {}
    for memory in memories:
        found |= _contents_of(memory)
    return found


@functools.cache
def _contents_of(memory: Memory) -> dict[str, Payload]:
    model = plan.SPACE_MODEL if memory.space else _CANONICAL
    spans = memory.chunks
    metadata: dict[str, Any] = memory.metadata | ({"engram.splitter": _SPLITTER} if spans else {})
    cid, payload = _named(Payload(memory.stored_vector(), _json(metadata), model, memory.text))
    found = {cid: payload}
    text = memory.text or ""
    for index, span in enumerate(spans):
        own = metadata | {"engram.parent": cid, "engram.chunk": index, "engram.span": list(span)}
        part = text[slice(*span)]
        chunk, payload = _named(Payload(vector_of(part), _json(own), model, part))
        found[chunk] = payload
    return found


def _named(payload: Payload) -> tuple[str, Payload]:
    text, metadata, model = payload.text, payload.metadata_json.encode(), payload.model_version.encode()
    content = bytes(32) if text is None else hashlib.sha256(text.encode()).digest()
    hashed = hashlib.sha256(b"engram/cid/1\n" + struct.pack("<I", len(payload.vector) // 4) + payload.vector)
    hashed.update(content + bytes([text is not None]))
    for part in (metadata, model):
        hashed.update(struct.pack("<I", len(part)) + part)
    return f"v1::{hashed.hexdigest()}", payload


def _json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"))
