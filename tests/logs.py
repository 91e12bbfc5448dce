"""Logs of small events, as tests make them."""

from __future__ import annotations

import msgspec

from engram import events
from engram.events import Log, LogCreated
from engram.runtime import RealDisk

CREATED = events.encode(LogCreated(format=1, node_key=bytes(32)))


def event(number: int, size: int = 0) -> bytes:
    return msgspec.msgpack.encode({"type": "example.1", "n": number, "pad": bytes([85]) * size})


def write(folder, frames, segment_bytes=2048, disk=None):
    """A log of these frames (numbers of events), all events of it, and for each frame (time, size, root) after it."""
    log = Log.open(disk or RealDisk(), folder, segment_bytes=segment_bytes)
    written, after = [], []
    for count in frames:
        new = [CREATED if not written and not n else event(len(written) + n) for n in range(count)]
        written += new
        done = log.append(new, 100 + len(after))
        after.append((done.time_unix_ns, done.size, done.root))
    return log, written, after
