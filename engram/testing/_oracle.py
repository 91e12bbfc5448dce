"""What a data folder says, read by code that shares nothing with the node's: the log's events, the bodies, their fold.

Formats §2, §3 and §8, by `struct` and a general MessagePack decoder. It trusts that each frame is sound; that is the
whole verification's business.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LOG_HEADER = struct.Struct("<4sIIIQQ32s")
_BODY_HEADER = struct.Struct("<4sIIB3s32s16s")
_PAYLOAD_HEADER = struct.Struct("<4sBBHIH2sI12s32s")
PUBLIC = bytes(32)
_ERASED = 2


class Violation(Exception):
    """Something that must hold did not; the message says what, with which memory, where in the log."""


class Event(msgspec.Struct, frozen=True):
    """An event, and the position of the first and of the last event of its frame."""

    position: int
    frame: tuple[int, int]
    fields: dict[str, Any]

    @property
    def type(self) -> str:
        """Its type, with the version."""
        kind: str = self.fields["type"]
        return kind


class Frame(msgspec.Struct, frozen=True):
    """A frame: the position of its first event, its events, and what it says of the log behind it."""

    first: int
    events: list[bytes]
    root: bytes
    time_unix_ns: int

    @property
    def size(self) -> int:
        """How many events the log has behind it."""
        return self.first + len(self.events)


class Payload(msgspec.Struct, frozen=True):
    """A record's payload, taken apart."""

    vector: bytes
    metadata_json: str
    model_version: str
    text: str | None

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata."""
        decoded: dict[str, Any] = json.loads(self.metadata_json)
        return decoded

    @property
    def parent(self) -> str | None:
        """The document that it is a chunk of."""
        return self.metadata.get("engram.parent")

    @property
    def document(self) -> bool:
        """Whether it is a long text as a whole."""
        return "engram.splitter" in self.metadata and self.parent is None


def events_of(files: Mapping[str, bytes], folder: str) -> list[Event]:
    """Give every event of the log in `folder`, in order."""
    return [
        Event(frame.first + number, (frame.first, frame.size - 1), msgspec.msgpack.decode(data))
        for frame in frames_of(files, folder)
        for number, data in enumerate(frame.events)
    ]


def frames_of(files: Mapping[str, bytes], folder: str) -> Iterator[Frame]:
    """Give every frame of the log in `folder`, in order."""
    for _, data in _segments(files, folder, ".log"):
        at = 0
        while data[at : at + 4] == b"EGL1":
            _, _, length, count, first, time_unix_ns, root = _LOG_HEADER.unpack_from(data, at)
            start, events = at + _LOG_HEADER.size, []
            for _ in range(count):
                size = int.from_bytes(data[start : start + 4], "little")
                events.append(data[start + 4 : start + 4 + size])
                start += 4 + size
            yield Frame(first, events, root, time_unix_ns)
            at += (_LOG_HEADER.size + length + 7) // 8 * 8


def bodies_of(files: Mapping[str, bytes], folder: str) -> dict[bytes, bytes]:
    """Give the bytes of every body in `folder` by its id, but for those that are erased; the first place counts."""
    found: dict[bytes, bytes] = {}
    for kind, body_id, data in _bodies(files, folder):
        if kind != _ERASED:
            found.setdefault(body_id, data)
    return found


def erased_of(files: Mapping[str, bytes], folder: str) -> list[tuple[bytes, bytes]]:
    """Give the id and the bytes, which should be zeros, of every body in `folder` that is erased."""
    return [(body_id, data) for kind, body_id, data in _bodies(files, folder) if kind == _ERASED]


def frames_at(files: Mapping[str, bytes], folder: str) -> Iterator[tuple[str, int, int, int]]:
    """Give where the frames of the bodies in `folder` are: path, offset, bytes of the body, kind."""
    for path, data in _segments(files, folder, ".seg"):
        at = 0
        while data[at : at + 4] == b"EGB1":
            _, _, length, kind, _, _, _ = _BODY_HEADER.unpack_from(data, at)
            yield path, at, length, kind
            at += (64 + length + 63) // 64 * 64


def _bodies(files: Mapping[str, bytes], folder: str) -> Iterator[tuple[int, bytes, bytes]]:
    for path, at, length, kind in frames_at(files, folder):
        data = files[path]
        yield kind, data[at + 16 : at + 48], data[at + 64 : at + 64 + length]


def payload_of(data: bytes) -> Payload:
    """Take a payload apart."""
    _, flags, _, dim, meta_len, version_len, _, _, _, _ = _PAYLOAD_HEADER.unpack_from(data)
    meta_at = 64 + 4 * dim
    version_at = meta_at + meta_len
    blob_at = version_at + version_len
    return Payload(
        data[64:meta_at],
        data[meta_at:version_at].decode(),
        data[version_at:blob_at].decode(),
        data[blob_at:].decode() if flags == 1 else None,
    )


def _segments(files: Mapping[str, bytes], folder: str, suffix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(files):
        if path.startswith(f"{folder}/") and path.endswith(suffix):
            yield path, files[path]
