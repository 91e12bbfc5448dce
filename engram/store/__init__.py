"""One data folder: bodies, log, tables and indexes, and the one writer that keeps them in step."""

from engram.store._archive import unpacked
from engram.store._audit import AuditFinding, AuditOrder, AuditPart, AuditReport, Claim, GivenCheckpoint, audit
from engram.store._committer import SNAPSHOT_LEAVES
from engram.store._group import (
    CreateOperation,
    DeleteOperation,
    Done,
    DropOperation,
    JudgeOperation,
    KeyOperation,
    MeasureOperation,
    Namespace,
    Operation,
    PutOperation,
)
from engram.store._indexing import Indexing
from engram.store._packed import PackedFile
from engram.store._parts import IndexLimits
from engram.store._place import Finding, Pass, Place
from engram.store._proof_state import Commitment, ProofState
from engram.store._reading import PUBLIC, Found, Published
from engram.store._recall import RecallCheck
from engram.store._receipts import Receipt
from engram.store._scrub import Scrub, Stepped
from engram.store._store import Store
from engram.store._tables import Count, Head, Version, View

__all__ = [
    "PUBLIC",
    "SNAPSHOT_LEAVES",
    "AuditFinding",
    "AuditOrder",
    "AuditPart",
    "AuditReport",
    "Claim",
    "Commitment",
    "Count",
    "CreateOperation",
    "DeleteOperation",
    "Done",
    "DropOperation",
    "Finding",
    "Found",
    "GivenCheckpoint",
    "Head",
    "IndexLimits",
    "Indexing",
    "JudgeOperation",
    "KeyOperation",
    "MeasureOperation",
    "Namespace",
    "Operation",
    "PackedFile",
    "Pass",
    "Place",
    "ProofState",
    "Published",
    "PutOperation",
    "RecallCheck",
    "Receipt",
    "Scrub",
    "Stepped",
    "Store",
    "Version",
    "View",
    "audit",
    "unpacked",
]
