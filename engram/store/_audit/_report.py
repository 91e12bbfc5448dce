"""What an audit reports: findings, and of each part how much was checked and how much of it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

FINDINGS = 1000
"""How many findings are reported; those beyond them are counted."""

Status = Literal["sound", "torn", "damaged"]
PartName = Literal[
    "format", "log", "checkpoints", "bodies", "events", "signatures", "commitments", "tables", "index", "projections"
]


class AuditFinding(msgspec.Struct, frozen=True):
    """Something that is not as it should be. `file` is relative to the folder, `offset` None where it is all of it.

    `position`: of the event that it is about. `status`: torn is an unfinished write at an end, which the next start
    cuts off and which nobody was told of; everything else is damaged.
    """

    part: PartName
    status: Status
    file: str
    offset: int | None
    position: int | None
    reason: str


class AuditPart(msgspec.Struct, frozen=True):
    """How much of one part was checked, and how much of that is sound. `note`: why something was not checked."""

    name: PartName
    checked: int = 0
    sound: int = 0
    size_bytes: int = 0
    note: str = ""


class AuditReport(msgspec.Struct, frozen=True):
    """What an audit found, and what still holds.

    `events` are those whose frames are proved, from position 0 on, under `root`; `checkpoint` is the size of the
    largest checkpoint that holds, with all that it commits to.
    """

    node_key: str
    events: int
    root: str
    time_unix_ns: int
    checkpoint: int | None
    parts: list[AuditPart]
    findings: list[AuditFinding]
    findings_left_out: int

    @property
    def status(self) -> Status:
        """The worst of the findings."""
        if self.findings_left_out or any(finding.status == "damaged" for finding in self.findings):
            return "damaged"
        return "torn" if self.findings else "sound"


Tell: TypeAlias = Callable[[PartName, int, int], object]
"""Hears how far a part is: its name, bytes done, bytes in all."""


class Ledger:
    """Where the parts of an audit note what they find and count."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.findings: list[AuditFinding] = []
        self.left_out = 0
        self._notes: dict[PartName, str] = {}
        self._counts: dict[PartName, tuple[int, int, int]] = {}

    def found(
        self,
        part: PartName,
        file: str,
        offset: int | None,
        reason: str,
        *,
        position: int | None = None,
        status: Status = "damaged",
    ) -> None:
        """Note a finding."""
        if len(self.findings) < FINDINGS:
            self.findings.append(AuditFinding(part, status, file, offset, position, reason))
        else:
            self.left_out += 1

    def count(self, part: PartName, checked: int = 1, sound: int = 0, size_bytes: int = 0) -> None:
        """Count what was checked."""
        before = self._counts.get(part, (0, 0, 0))
        self._counts[part] = (before[0] + checked, before[1] + sound, before[2] + size_bytes)

    def note(self, part: PartName, reason: str) -> None:
        """Say why something of a part was not checked."""
        self._notes[part] = reason
        self.count(part, 0)

    def parts(self) -> list[AuditPart]:
        """Give what was counted, in the order in which it was looked at."""
        return [
            AuditPart(name, checked, sound, size_bytes, self._notes.get(name, ""))
            for name, (checked, sound, size_bytes) in self._counts.items()
        ]
