"""The event log: frames, positions, times, and the Merkle root over all events. Formats §3."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auditing.events import decode, digest_of
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

LOG_FRAME_BYTES, EVENTS_A_FRAME, EVENT_BYTES = 8 << 20, 65_536, 65_535


class LogTree:
    """The Merkle tree of RFC 6962, of which only the right edge is kept: perfect subtrees, largest first."""

    def __init__(self) -> None:
        self.edge: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf's bytes."""
        leaves, node = 1, sha(b"\0", leaf)
        while self.edge and self.edge[-1][0] == leaves:
            leaves, node = 2 * leaves, sha(b"\1", self.edge.pop()[1], node)
        self.edge.append((leaves, node))

    def root(self) -> bytes:
        """Give the root of what was added."""
        if not self.edge:
            return sha()
        root = self.edge[-1][1]
        for _, node in reversed(self.edge[:-1]):
            root = sha(b"\1", node, root)
        return root


@dataclass
class Log:
    """A log's events, and where its frames end: size after a frame -> (root, file, offset)."""

    events: list[bytes] = field(default_factory=list)
    ends: dict[int, tuple[bytes, str, int]] = field(default_factory=dict)
    tree: LogTree = field(default_factory=LogTree)
    time_unix_ns: int = 0

    def place(self, position: int) -> tuple[str, int]:
        """Give the file and offset of the frame that holds a position."""
        sizes = list(self.ends)
        return self.ends[sizes[bisect.bisect_right(sizes, position)]][1:]


def read_log(segments: Iterator[tuple[str, bytes, bool]], covered: int, torn: Callable[[Damage], object]) -> Log:
    """Read (name, bytes, is it the last) of every segment; tell of a torn tail, raise `Damage`.

    `covered`: the size of the largest checkpoint.
    """
    log = Log()
    for name, data, last in segments:
        first = len(log.events)
        if Path(name).name != f"{first:020}.log":
            raise Damage(name, 0, f"the next event is {first}, so its name is wrong")
        if len(data) > SEGMENT_BYTES:
            raise Damage(name, SEGMENT_BYTES, "a segment is at most 64 MiB")
        at = 0
        while at < len(data) and not (last and not any(memoryview(data)[at : at + 64]) and zeros(data, at)):
            end = _log_frame_end(data, at)
            if end is None:
                raise_or_tell(_unsound_log(name, data, at, last=last, size=len(log.events), covered=covered), torn)
                return log
            try:
                _read_frame(data[at:end], log)
            except Wrong as wrong:
                raise Damage(name, at, str(wrong)) from None
            log.ends[len(log.events)] = (log.tree.root(), name, at)
            at = end
        if not last and len(log.events) == first:
            raise Damage(name, 0, "a segment before the last holds no frame")
    return log


def _log_extent(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at + 8 : at + 12], "little") if at + 12 <= len(data) else 0
    whole = FRAME + (length + 7) // 8 * 8
    return FRAME if length == 0 or whole > LOG_FRAME_BYTES else whole


def _log_frame_end(data: bytes, at: int) -> int | None:
    """Give where the sound frame at `at` ends: magic, extent and CRC are right."""
    extent = _log_extent(data, at)
    if extent == FRAME or at + extent > len(data) or data[at : at + 4] != b"EGL1":
        return None
    covered = data[at + 8 : at + FRAME + int.from_bytes(data[at + 8 : at + 12], "little")]
    return at + extent if crc32c(covered) == int.from_bytes(data[at + 4 : at + 8], "little") else None


def _unsound_log(name: str, data: bytes, at: int, *, last: bool, size: int, covered: int) -> Damage:
    if not last:
        return Damage(name, at, "an unsound frame in a segment that another follows")
    if covered > size:
        return Damage(name, at, f"an unsound frame below the checkpoint of size {covered}")
    if not looks_unfinished(data, at, _log_extent(data, at)):
        return Damage(name, at, "an unsound frame that was written whole")
    for later in finds(data, b"EGL1", at + 8, 8, at):
        if _log_frame_end(data, later) and int.from_bytes(data[later + 16 : later + 24], "little") > size:
            return Damage(name, at, f"an unsound frame, and a sound one of a later position at {later}")
    return Damage(name, at, "a write that was never finished; the next start cuts it off", "torn")


def _read_frame(frame: bytes, log: Log) -> None:
    length, count, first, now = struct.unpack_from("<IIQQ", frame, 8)
    if first != len(log.events):
        raise Wrong(f"first_position is {first}, and {len(log.events)} events stand before it")
    if now <= log.time_unix_ns:
        raise Wrong("time_unix_ns does not grow")
    if any(frame[FRAME + length :]):
        raise Wrong("the padding is not zero")
    if not 1 <= count <= EVENTS_A_FRAME:
        raise Wrong(f"a count of {count} events")
    events, at, end = [], FRAME, FRAME + length
    while at < end:
        size = int.from_bytes(frame[at : at + 4], "little")
        if at + 4 > end or at + 4 + size > end or not 1 <= size <= EVENT_BYTES:
            raise Wrong("the events' sizes do not add up")
        events.append(frame[at + 4 : at + 4 + size])
        at += 4 + size
    if len(events) != count:
        raise Wrong(f"count is {count}, and there are {len(events)} events")
    tree = LogTree()
    tree.edge = list(log.tree.edge)
    for position, event in enumerate(events, first):
        found = decode(event)
        if position == 0 and found["type"] != "log_created.1":
            raise Wrong("position 0 is not log_created.1")
        tree.append(event)
    if tree.root() != frame[32:64]:
        raise Wrong("the root is not that of the events")
    log.events += events
    log.tree, log.time_unix_ns = tree, now


def node_key_of(log: Log) -> bytes:
    """Give the node key that event 0 names."""
    created = decode(log.events[0])
    key = created.get("node_key")
    if created.get("format") != 1 or not isinstance(key, bytes) or len(key) != 32:
        raise Damage(*log.place(0), "event 0 is not log_created.1 of format 1 with a node key")
    return key


class Named:
    """The ids of bodies that events name, but for what was erased since: when nobody held it, and one wanted it so."""

    def __init__(self, log: Log) -> None:
        self.ids: set[bytes] = set()
        holds: dict[bytes, set[object]] = {}
        wants: dict[bytes, set[object]] = {}
        for event in map(decode, log.events):
            match event["type"]:
                case "record_stored.1":
                    digest, who = digest_of(event.get("cid")), (event.get("ns"), event.get("signer"))
                    holds.setdefault(digest, set()).add(who)
                    wants.setdefault(digest, set()).discard(who)
                    self.ids.add(digest)
                case "record_deleted.1":
                    digest, who = digest_of(event.get("cid")), (event.get("ns"), event.get("signer"))
                    holds.setdefault(digest, set()).discard(who)
                    if event.get("erase"):
                        wants.setdefault(digest, set()).add(who)
                    if wants.get(digest) and not holds[digest]:
                        self.ids.discard(digest)
                case "namespace_created.1":
                    self.ids.add(event.get("name", b""))
                case "key_set.1":
                    self.ids.add(event.get("key", b""))
