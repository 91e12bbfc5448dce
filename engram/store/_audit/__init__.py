"""The audit of a data folder; see `_audit` for how it goes."""

from engram.store._audit._audit import AuditOrder, Claim, audit
from engram.store._audit._notes import GivenCheckpoint
from engram.store._audit._report import AuditFinding, AuditPart, AuditReport

__all__ = ["AuditFinding", "AuditOrder", "AuditPart", "AuditReport", "Claim", "GivenCheckpoint", "audit"]
