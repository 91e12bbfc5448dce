"""An audit's look at the checkpoints: each one's signature and name, and the root that the log has at its size.

That two checkpoints are consistent follows: both are held against the one log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.errors import LogCorrupt
from engram.events import checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engram.events import Checkpoint
    from engram.ports import Disk
    from engram.store._audit._report import Ledger

_NOTE_BYTES = 4096


class GivenCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that somebody else kept: what to call it, and its bytes."""

    name: str
    note: bytes


class Notes:
    """The checkpoints of a folder and those that were given, held against the log as it is read."""

    def __init__(self, disk: Disk, path: Path, given: Sequence[GivenCheckpoint], ledger: Ledger) -> None:
        self._disk = disk
        self._folder = path / "checkpoints"
        self._ledger = ledger
        self._given_notes = given
        self._given: dict[int, list[tuple[str, Checkpoint]]] = {}
        self._key = b""
        self._names: list[str] = []
        try:
            self._names = checkpoints.names(disk, self._folder)
        except OSError as error:
            ledger.found("checkpoints", "checkpoints", None, f"it cannot be read: {error.strerror or error}")
        self._next = 0
        self.proved: dict[int, list[str]] = {}
        """By size, the names of those whose signature verifies, and whose root is the log's."""

    @property
    def largest(self) -> int:
        """The size that the largest has by its name."""
        return int(self._names[-1]) if self._names else 0

    def begin(self, key: bytes) -> None:
        """Learn whose log it is, and verify what was given."""
        self._key = key
        for given in self._given_notes:
            self._ledger.count("checkpoints")
            try:
                checkpoint = checkpoints.parse(given.note, key)
            except LogCorrupt as error:
                self._ledger.found("checkpoints", given.name, 0, error.message)
            else:
                self._given.setdefault(checkpoint.size, []).append((given.name, checkpoint))

    def frame(self, size: int, root: bytes, before: int) -> None:
        """Hold against a frame that ends at `size` every checkpoint of more than `before` events up to there."""
        while self._next < len(self._names) and int(self._names[self._next]) <= size:
            name = self._names[self._next]
            self._next += 1
            if (checkpoint := self._read(name)) is not None:
                self._hold(f"checkpoints/{name}", checkpoint, size, root)
        for known in [known for known in self._given if before < known <= size]:
            for name, checkpoint in self._given.pop(known):
                self._hold(name, checkpoint, size, root)

    def end(self, size: int, *, whole: bool) -> None:
        """Tell of those that are larger than the log. `whole`: nothing ended it early."""
        if not self._key:
            if self._names or self._given_notes:
                self._ledger.note("checkpoints", "not checked: the log does not say whose it is")
            return
        rest = [(f"checkpoints/{name}", self._read(name)) for name in self._names[self._next :]]
        rest += [one for known in self._given.values() for one in known]
        for name, checkpoint in rest:
            if checkpoint is None:
                continue
            if whole:
                reason = f"it is of {checkpoint.size} events, and the log has {size}: the log was rolled back"
                self._ledger.found("checkpoints", name, 0, reason)
            else:
                self._ledger.note("checkpoints", "those beyond the damage in the log were not held against it")

    def _read(self, name: str) -> Checkpoint | None:
        """Read and verify one of the folder's; None where that was told to be wrong."""
        file = f"checkpoints/{name}"
        self._ledger.count("checkpoints")
        try:
            opened = self._disk.open(self._folder / name, writable=False)
            try:
                note = opened.read(0, _NOTE_BYTES + 1)
            finally:
                opened.close()
            checkpoint = checkpoints.parse(note, self._key)
        except OSError as error:
            self._ledger.found("checkpoints", file, None, f"it cannot be read: {error.strerror or error}")
        except LogCorrupt as error:
            self._ledger.found("checkpoints", file, 0, error.message)
        else:
            if checkpoints.file_name(checkpoint.size) == name:
                return checkpoint
            self._ledger.found("checkpoints", file, 0, f"it holds the checkpoint of size {checkpoint.size}")
        return None

    def _hold(self, name: str, checkpoint: Checkpoint, size: int, root: bytes) -> None:
        if checkpoint.size != size:
            reason = f"no frame of the log ends at its size, {checkpoint.size}: this is another history"
        elif checkpoint.root != root:
            reason = (
                f"the log has another root at its size, {size}: the node signed two histories, or the log was changed"
            )
        else:
            self.proved.setdefault(size, []).append(name)
            return
        self._ledger.found("checkpoints", name, 0, reason)
