"""What a challenging node keeps of others, in `evidence/<ss58 of their key>/`: their checkpoints, and hard evidence.

`checkpoints.json` has the latest commitments that the node has given, so that a second one of the same size and another
root is found; `invalid-….json` and `equivocation-….json` are documents that anyone can verify (`engram verify`). An
invalid answer holds the records that were sent with it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.events import Checkpoint
from engram.identity import ss58
from engram.proofs import Evidence, Outcome, equivocation, evidence_of, said_in_commitment, write
from engram.wire import Commitment  # noqa: TC001 - a field's type

if TYPE_CHECKING:
    from pathlib import Path

    from engram.events import CommittedState
    from engram.ports import Disk
    from engram.proofs import Transcript

_CHECKPOINTS = "checkpoints.json"
_REMEMBERED = 256
_FILES = 16
"""Evidence of each kind against one node, at most: it makes no difference any more."""
_CHECKPOINTS_BYTES = 4 * 1024 * 1024
"""What is remembered of one node, at most: as many of its commitments as fit, however large it makes them."""


class _Known(msgspec.Struct, frozen=True):
    """A commitment that was given, and what it says."""

    size: int
    root: bytes
    commitment: Commitment


class EvidenceFolder:
    """Keeps it. Its calls write to the disk: they are for a thread. They raise `OSError`."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder

    def meet(self, commitment: Commitment, committed: CommittedState) -> Evidence | None:
        """Remember a commitment; give the evidence that it is, kept, where an earlier one excludes it."""
        folder = self._folder / ss58(committed.node_key)
        known = self._known(folder)
        same = next((each for each in known if each.size == committed.size), None)
        if same is None:
            fresh = _Known(committed.size, committed.root, commitment)
            self._write(folder, _CHECKPOINTS, _encoded([*known, fresh][-_REMEMBERED:]))
        elif same.root != committed.root:
            found = equivocation(
                committed.node_key, said_in_commitment(same.commitment), said_in_commitment(commitment)
            )
            self._keep(folder, found)
            return found
        return None

    def largest(self, node_key: bytes) -> Checkpoint | None:
        """Give the largest checkpoint that a node has signed, as far as is remembered."""
        known = self._known(self._folder / ss58(node_key))
        found = max(known, key=lambda each: each.size, default=None)
        return None if found is None else Checkpoint(found.size, found.root)

    def keep(self, transcript: Transcript) -> None:
        """Keep a transcript as evidence, if its verdict makes it that."""
        judgement = transcript.judgement
        if judgement is not None and judgement.verdict == Outcome.INVALID:
            self._keep(self._folder / ss58(transcript.challenge.miner), evidence_of(transcript))

    def _keep(self, folder: Path, evidence: Evidence) -> None:
        there = [name for name in self._disk.list(folder) if name.startswith(evidence.kind)]
        if len(there) < _FILES:
            data = write(evidence)
            self._write(folder, f"{evidence.kind}-{hashlib.sha256(data).hexdigest()[:16]}.json", data)

    def _known(self, folder: Path) -> list[_Known]:
        path = folder / _CHECKPOINTS
        if not self._disk.exists(path):
            return []
        file = self._disk.open(path, writable=False)
        try:
            return msgspec.json.decode(file.read(0, min(file.size(), _CHECKPOINTS_BYTES)), type=list[_Known])
        except UNDECODABLE:
            return []  # it is what is remembered, and no more
        finally:
            file.close()

    def _write(self, folder: Path, name: str, data: bytes) -> None:
        self._disk.make_folder(folder)
        fresh = folder / f".{name}.new"
        file = self._disk.open(fresh, create=True)
        try:
            file.truncate(0)
            file.write(0, data)
            file.sync()
        finally:
            file.close()
        self._disk.rename(fresh, folder / name)
        self._disk.sync_folder(folder)


def _encoded(known: list[_Known]) -> bytes:
    """Give the latest of them that there is room for, as they are written."""
    parts = [msgspec.json.encode(each) for each in known]
    size = len(parts) + 1
    first = len(parts)
    while first and size + len(parts[first - 1]) <= _CHECKPOINTS_BYTES:
        first -= 1
        size += len(parts[first])
    return b"[" + b",".join(parts[first:]) + b"]"
