"""The vocabulary of events, the log, and its checkpoints."""

from engram.events import _checkpoint as checkpoints
from engram.events._checkpoint import Checkpoint
from engram.events._commitment import CommittedState, verify_commitment, verify_receipt
from engram.events._log import Committed, Log, LogStart, Verdict, judge
from engram.events._log_levels import LEVELS as LOG_LEVELS
from engram.events._log_levels import TILE_WIDTH
from engram.events._log_proof import leaf_hash, verify_consistency, verify_inclusion
from engram.events._log_tree import LogTree
from engram.events._reader import BATCH_BYTES, BATCH_EVENTS, Entry, LogReader, segment_name, segment_names
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
from engram.events._tiles import Exported, export_tiles
from engram.events._vocabulary import (
    FORMAT,
    AnyEvent,
    ChallengeJudged,
    Event,
    KeySet,
    LogCreated,
    NamespaceCreated,
    NamespaceDeleted,
    RecallMeasured,
    RecordDeleted,
    RecordStored,
    StateCommitted,
    TrieRoot,
    Unknown,
    decode,
    encode,
    is_known,
    known_types,
    plain,
)

__all__ = [
    "BATCH_BYTES",
    "BATCH_EVENTS",
    "FORMAT",
    "LOG_LEVELS",
    "SEGMENT_BYTES",
    "TILE_WIDTH",
    "AnyEvent",
    "ChallengeJudged",
    "Checkpoint",
    "Committed",
    "CommittedState",
    "Entry",
    "Event",
    "Exported",
    "KeySet",
    "Log",
    "LogCreated",
    "LogReader",
    "LogStart",
    "LogTree",
    "NamespaceCreated",
    "NamespaceDeleted",
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
    "export_tiles",
    "is_known",
    "judge",
    "known_types",
    "leaf_hash",
    "make_durable",
    "plain",
    "read_whole",
    "remove_leftovers",
    "segment_name",
    "segment_names",
    "size_of",
    "verify_commitment",
    "verify_consistency",
    "verify_inclusion",
    "verify_receipt",
]
