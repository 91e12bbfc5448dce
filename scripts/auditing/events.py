"""Events as they stand in the log: a MessagePack reader, and the fields that it gives. Formats §3."""

from __future__ import annotations

import re
import struct
from typing import Any

from auditing.framing import Wrong

_CID = re.compile(r"v1::([0-9a-f]{64})\Z")


def decode(event: bytes) -> dict[str, Any]:
    """Decode an event: one MessagePack map, distinct string keys, `type` first, no ext types, nothing behind it."""
    try:
        value, end = _unpack(event, 0, 0)
    except (IndexError, struct.error):
        raise Wrong("an event that ends too early") from None
    if end != len(event) or not isinstance(value, dict):
        raise Wrong("an event that is not one map")
    if next(iter(value), None) != "type" or not isinstance(value["type"], str):
        raise Wrong("an event whose first key is not type")
    return value


_FIXED = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q", 0xCA: "f", 0xCB: "d"}
_SIZED = {
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip


def _unpack(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    head = data[at]
    at += 1
    if head < 0x80 or head >= 0xE0:
        return (head if head < 0x80 else head - 256), at
    if head in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[head], at
    if head in _FIXED:
        code = ">" + _FIXED[head]
        return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
    if head in _SIZED:
        kind, width = _SIZED[head]
        size, at = int.from_bytes(_take(data, at, width)), at + width
    elif head < 0xC0:
        kind, size = ("map", head & 15) if head < 0x90 else ("list", head & 15) if head < 0xA0 else ("str", head & 31)
    else:
        raise Wrong("an event with an ext type")
    if kind in ("bin", "str"):
        part = _take(data, at, size)
        return (part if kind == "bin" else _text(part)), at + size
    return _unpack_many(data, at, size, depth, kind)


def _unpack_many(data: bytes, at: int, size: int, depth: int, kind: str) -> tuple[Any, int]:
    if depth == 32:
        raise Wrong("an event nested too deep")
    parts: list[Any] = []
    for _ in range(size * (2 if kind == "map" else 1)):
        part, at = _unpack(data, at, depth + 1)
        parts.append(part)
    if kind == "list":
        return parts, at
    if not all(isinstance(key, str) for key in parts[::2]) or len(set(parts[::2])) != size:
        raise Wrong("an event with a key that is no string, or stands twice")
    return dict(zip(parts[::2], parts[1::2], strict=True)), at


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Wrong("text that is not UTF-8") from None


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise Wrong("an event that ends too early")
    return data[at : at + size]


def digest_of(cid: object) -> bytes:
    """Give the 32 bytes that a CID names."""
    found = _CID.match(cid) if isinstance(cid, str) else None
    if found is None:
        raise Wrong("its cid is not v1:: and 64 lower-case hex digits")
    return bytes.fromhex(found[1])


def bytes32(event: dict[str, Any], name: str) -> bytes:
    """Give a field of 32 bytes."""
    value = event.get(name)
    if not isinstance(value, bytes) or len(value) != 32:
        raise Wrong(f"its {name} is not 32 bytes")
    return value


def u64(event: dict[str, Any], name: str) -> int:
    """Give a field that is an unsigned integer of 64 bits."""
    value = event.get(name)
    if type(value) is not int or not 0 <= value < 2**64:
        raise Wrong(f"its {name} is not a time")
    return value


def committed_root(event: dict[str, Any], name: str) -> tuple[bytes, int]:
    """Give a field that is the root and count of a trie."""
    value = event.get(name)
    if not isinstance(value, dict) or set(value) != {"root", "count"}:
        raise Wrong(f"its {name} is not a root and a count")
    return bytes32(value, "root"), u64(value, "count")
