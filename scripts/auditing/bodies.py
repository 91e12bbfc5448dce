"""Bodies: record payloads, whose CID is recomputed, and patches. Formats §1 and §2."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditing.canonical import check_canonical
from auditing.framing import (
    FRAME,
    SEGMENT_BYTES,
    Damage,
    Wrong,
    crc32c,
    finds,
    looks_unfinished,
    raise_or_tell,
    sha,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditing.log import Named

BODY_BYTES, METADATA_BYTES, DIM = 1 << 20, 4096, 4096
RECORD, PATCH, ERASED = 0, 1, 2
_VERSION = re.compile(rb"[A-Za-z0-9._/:@+-]{1,128}\Z")


@dataclass
class Body:
    """A body: its kind, where its frame stands, the hash of its bytes, and of a record its model and dimension."""

    kind: int
    file: str
    offset: int
    digest: bytes
    model_version: str = ""
    dim: int = 0


def read_bodies(
    segments: Iterator[tuple[str, bytes, bool]], named: Named | None, torn: Callable[[Damage], object]
) -> dict[bytes, Body]:
    """Read every body frame and its content: id -> the first body of that id. Tell of a torn tail, raise `Damage`.

    One that was erased gives way: it may have been put again.
    """
    bodies: dict[bytes, Body] = {}
    for name, data, last in segments:
        if len(data) > SEGMENT_BYTES:
            raise Damage(name, SEGMENT_BYTES, "a segment is at most 64 MiB")
        at = 0
        while at < len(data) and not (last and not any(memoryview(data)[at : at + 64]) and zeros(data, at)):
            end = _body_frame_end(data, at)
            if end is None:
                held = {key for key, body in bodies.items() if body.kind != ERASED}
                raise_or_tell(_unsound_body(name, data, at, last=last, named=named, held=held), torn)
                return bodies
            kind, key = data[at + 12], data[at + 16 : at + 48]
            content = data[at + FRAME : at + FRAME + int.from_bytes(data[at + 8 : at + 12], "little")]
            try:
                if any(data[at + FRAME + len(content) : end]):
                    raise Wrong("the padding is not zero")
                body = _body(kind, key, content, name, at)
                if key not in bodies or bodies[key].kind == ERASED:
                    bodies[key] = body
            except Wrong as wrong:
                raise Damage(name, at, str(wrong)) from None
            if kind == ERASED and any(content):
                torn(Damage(name, at, "an erasure that was not finished; the next start finishes it", "torn"))
            at = end
        if not last and at == 0:
            raise Damage(name, 0, "a segment before the last holds no frame")
    return bodies


def _body(kind: int, key: bytes, content: bytes, name: str, at: int) -> Body:
    if kind == RECORD:
        digest, model_version, dim = read_payload(content)
        if digest != key:
            raise Wrong(f"the record's CID is v1::{digest.hex()}, and its frame says v1::{key.hex()}")
        return Body(kind, name, at, sha(content), model_version, dim)
    if kind == PATCH:
        if sha(content) != key:
            raise Wrong("the patch's id is not its hash")
        check_canonical(content)
    elif kind != ERASED:
        raise Wrong(f"the kind {kind} is unknown")
    return Body(kind, name, at, sha(content))


def _body_extent(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at + 8 : at + 12], "little") if at + 12 <= len(data) else 0
    return FRAME if not 1 <= length <= BODY_BYTES else (FRAME + length + 63) // 64 * 64


def _body_frame_end(data: bytes, at: int) -> int | None:
    extent = _body_extent(data, at)
    if extent == FRAME or at + extent > len(data) or data[at : at + 4] != b"EGB1":
        return None
    length, kind = int.from_bytes(data[at + 8 : at + 12], "little"), data[at + 12]
    content = bytes(length) if kind == ERASED else data[at + FRAME : at + FRAME + length]
    if any(data[at + 13 : at + 16]) or any(data[at + 48 : at + 64]):
        return None
    crc = crc32c(data[at + 8 : at + FRAME] + content)
    return at + extent if crc == int.from_bytes(data[at + 4 : at + 8], "little") else None


def _unsound_body(name: str, data: bytes, at: int, *, last: bool, named: Named | None, held: Any) -> Damage:
    if not last:
        return Damage(name, at, "an unsound frame in a segment that another follows")
    if not looks_unfinished(data, at, _body_extent(data, at)):
        return Damage(name, at, "an unsound frame that was written whole")
    if named is not None and data[at + 16 : at + 48] in named.ids:
        return Damage(name, at, "an unsound frame whose id an event names")
    for later in finds(data, b"EGB1", at + 64, 64, at):
        key = data[later + 16 : later + 48]
        if (named is None or (key in named.ids and key not in held)) and _body_frame_end(data, later):
            return Damage(name, at, f"an unsound frame, and a sound one that an event names at {later}")
    return Damage(name, at, "a write that was never finished; the next start cuts it off", "torn")


def read_payload(data: bytes) -> tuple[bytes, str, int]:
    """Decode a record's payload, §2, and recompute its CID, §1: (digest, model version, dim)."""
    if len(data) < 64 or data[:4] != b"EPR1":
        raise Wrong("not a record payload")
    flags, dtype, dim, meta_len, version_len, spare, blob_len = struct.unpack_from("<BBHIHHI", data, 4)
    content = data[32:64]
    vector_end = 64 + 4 * dim
    meta_end, version_end = vector_end + meta_len, vector_end + meta_len + version_len
    if dtype or spare or any(data[20:32]) or dim > DIM or flags > 2 or version_end + blob_len != len(data):
        raise Wrong("a record payload's header has a reserved byte set, or lengths that do not add up")
    vector, meta, version = data[64:vector_end], data[vector_end:meta_end], data[meta_end:version_end]
    blob = data[version_end:]
    _check_vector(vector)
    if meta_len > METADATA_BYTES:
        raise Wrong(f"{meta_len} bytes of metadata")
    check_canonical(meta)
    if not _VERSION.match(version):
        raise Wrong("a model version of other bytes than A-Z a-z 0-9 . _ / : @ + -")
    if (flags == 0 and blob) or (flags and sha(blob) != content):
        raise Wrong("content is not the hash of the blob")
    if flags == 2 and (dim or meta != b"{}" or version != b"sealed/1"):
        raise Wrong("a sealed record with a vector, metadata or another version")
    size = [len(part).to_bytes(4, "little") for part in (meta, version)]
    preimage = dim.to_bytes(4, "little"), vector, content, bytes([flags]), size[0], meta, size[1], version
    return sha(b"engram/cid/1\n", *preimage), version.decode(), dim


def _check_vector(vector: bytes) -> None:
    words = struct.unpack(f"<{len(vector) // 4}I", vector)
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    if 0x80000000 in words or not math.isfinite(sum(numbers)) or (words and not any(words)):
        raise Wrong("a vector with -0.0, NaN or infinity, or all zero")
