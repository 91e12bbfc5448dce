"""The vocabulary of events, the log, and its checkpoints."""

from engram.events import _checkpoint as checkpoints
from engram.events._checkpoint import Checkpoint
from engram.events._log import Committed, Log, LogStart, Verdict, judge
from engram.events._reader import BATCH_BYTES, BATCH_EVENTS, Entry, LogReader, segment_name
from engram.events._replay import Replay
from engram.events._segments import (
    SEGMENT_BYTES,
    SegmentWriter,
    create,
    cut_torn_tail,
    make_durable,
    read_whole,
    remove_leftovers,
    size_of,
)
from engram.events._vocabulary import (
    FORMAT,
    AnyEvent,
    Event,
    LogCreated,
    NamespaceCreated,
    RecallMeasured,
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
    "BATCH_BYTES",
    "BATCH_EVENTS",
    "FORMAT",
    "SEGMENT_BYTES",
    "AnyEvent",
    "Checkpoint",
    "Committed",
    "Entry",
    "Event",
    "Log",
    "LogCreated",
    "LogReader",
    "LogStart",
    "NamespaceCreated",
    "RecallMeasured",
    "RecordDeleted",
    "RecordStored",
    "Replay",
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
    "make_durable",
    "read_whole",
    "remove_leftovers",
    "segment_name",
    "size_of",
]
