"""The vocabulary of events, the log, and its checkpoints."""

from engram.events import _checkpoint as checkpoints
from engram.events._checkpoint import Checkpoint
from engram.events._log import Committed, Log, LogStart, Verdict, judge, segment_name
from engram.events._segments import (
    SEGMENT_BYTES,
    SegmentWriter,
    create,
    cut_torn_tail,
    read_whole,
    remove_leftovers,
    make_durable,
)
from engram.events._vocabulary import (
    FORMAT,
    AnyEvent,
    Event,
    LogCreated,
    NamespaceCreated,
    RecordDeleted,
    RecordStored,
    StateCommitted,
    TrieRoot,
    Unknown,
    decode,
    encode,
    is_known,
)

__all__ = [
    "FORMAT",
    "SEGMENT_BYTES",
    "AnyEvent",
    "Checkpoint",
    "Committed",
    "Event",
    "Log",
    "LogCreated",
    "LogStart",
    "NamespaceCreated",
    "RecordDeleted",
    "RecordStored",
    "SegmentWriter",
    "StateCommitted",
    "TrieRoot",
    "Unknown",
    "Verdict",
    "checkpoints",
    "create",
    "cut_torn_tail",
    "decode",
    "encode",
    "is_known",
    "judge",
    "read_whole",
    "remove_leftovers",
    "segment_name",
    "make_durable",
]
