"""Audit a data folder: prove what can be proved of it, and say what does not hold, and what does. `docs/audit.md`.

Theory of operation. Nothing is written to the folder, and nothing in it is trusted: the Disk port that is given reads
regular files only, sizes are bounded before anything is read whole, and what has no bound is kept in a database of the
audit's own. In order:

    state.db     copied off the folder, so that all that it knows is in the log that is read behind it
    the log      every frame, of the segments that are there now; the roots at every size that something speaks of,
                 and the hashes in tree/
    checkpoints  signature, name, and the log's root at their size, on the way
    bodies       every frame, every id; where each is goes into the audit's database
    the events   read again: each against its body, and what stands before it; the state tries at every commitment;
                 fresh tables folded as far as state.db has come, whose digest must be its own
    the rest     the index's MANIFEST and parts, the snapshot of the tries, and what others say that they have folded

What a node writes meanwhile is behind what is read, or is read whole. Damage ends what cannot be known behind it, and
nothing else: of a log that breaks off at event n all before it is judged.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, get_args

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import FolderRefused, LogCorrupt
from engram.events import LogCreated, decode, segment_names
from engram.identity import NodeKey, ss58
from engram.native import _core
from engram.store._audit._bodies import BodiesPass, BodyReader, BodyTable
from engram.store._audit._index import check_index, read_manifest
from engram.store._audit._log import Frame, LogPass, log_bytes
from engram.store._audit._notes import GivenCheckpoint, Notes
from engram.store._audit._report import AuditReport, Ledger, PartName, Status, Tell
from engram.store._audit._state import EventsPass
from engram.store._audit._tables import Refold, Tables, scratch_tables
from engram.store._audit._tree import TreePass
from engram.store._audit._trie import TrieSnapshot
from engram.store._format import format_of
from engram.store._named import named_bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from engram.events import AnyEvent, Unknown
    from engram.ports import Disk

_TORN = 1
_ORDER: tuple[PartName, ...] = get_args(PartName)
_BATCH_EVENTS = 1024
_KEY_BYTES = 32


class Claim(msgspec.Struct, frozen=True):
    """That a file beside the log is a fold of it: of the log with `root` at `size`. `fault`: why it cannot be read."""

    file: str
    size: int = 0
    root: bytes = b""
    fault: str | None = None


class AuditOrder(msgspec.Struct, frozen=True):
    """What is audited: a folder, and what others know of it.

    `given`: checkpoints that somebody else kept; `claims`: of files that only others can read; `node_key`: whose the
    log has to be; `scratch`: a folder of the audit's own.
    """

    path: Path
    scratch: Path
    given: Sequence[GivenCheckpoint] = ()
    claims: Sequence[Claim] = ()
    node_key: bytes | None = None


class _Proved(NamedTuple):
    """What the first way through the log has shown."""

    log: LogPass
    key: bytes
    whole: bool
    roots: dict[int, bytes]


def audit(disk: Disk, order: AuditOrder, tell: Tell, pause: Callable[[], object]) -> AuditReport:
    """Audit a folder. `disk` only reads; `tell` hears how far it is; `pause` waits for a node that is writing.

    Raises `FolderRefused` where there is no data folder, and `StorageFailed` where the scratch folder has no room.
    """
    with contextlib.ExitStack() as opened:
        return _Audit(disk, order, Ledger(tell), pause, opened).run()


class _Audit:
    def __init__(
        self,
        disk: Disk,
        order: AuditOrder,
        ledger: Ledger,
        pause: Callable[[], object],
        opened: contextlib.ExitStack,
    ) -> None:
        self._disk = disk
        self._order = order
        self._path = order.path
        self._ledger = ledger
        self._pause = pause
        self._opened = opened

    def run(self) -> AuditReport:
        """Look at everything, in order."""
        ledger, order = self._ledger, self._order
        self._check_format()
        tables = Tables(self._disk, self._path, order.scratch, ledger, self._pause)
        self._opened.callback(tables.close)
        manifest = read_manifest(self._disk, self._path, ledger)
        wanted = {claim.size for claim in order.claims}
        wanted |= {tables.progress.position} if tables.progress else set()
        wanted |= {manifest.position} if manifest else set()
        snapshot = TrieSnapshot(self._disk, self._path, ledger)
        wanted |= {snapshot.position} if snapshot.position is not None else set()
        notes = Notes(self._disk, self._path, order.given, ledger)
        tree = TreePass(self._disk, self._path, ledger, self._opened)
        proved = self._prove_log(notes, tree, wanted)

        connection = scratch_tables(order.scratch)
        self._opened.callback(connection.close)
        reader = BodyReader(self._disk, self._path)
        self._opened.callback(reader.close)
        bodies = BodyTable(connection)
        found = BodiesPass(self._disk, self._path, bodies, ledger, self._named, self._pause)
        found.run()

        events = EventsPass(connection, bodies, reader, ledger, notes.proved, proved.key)
        events.tries_at = {snapshot.position: None} if snapshot.position is not None else {}
        refold = None
        root = proved.roots.get(tables.progress.position) if tables.progress else None
        if tables.hold(proved.log.size, root, found.end, whole=proved.whole) and tables.progress:
            refold = Refold(order.scratch, tables.progress, bodies, reader)
            self._opened.callback(refold.close)
        self._fold(proved, events, refold)
        if refold is not None and tables.connection is not None:
            if events.complete:
                refold.compare(tables.connection, ledger)
            else:
                ledger.note("tables", "not compared: bodies that the events name are missing or damaged")
        if manifest is not None:
            known = manifest.position <= proved.log.size
            check_index(self._disk, self._path, manifest, proved.roots.get(manifest.position), ledger, known=known)
        if snapshot.position is not None:
            at, tries = snapshot.position, events.tries_at[snapshot.position]
            snapshot.hold(proved.log.size, proved.roots.get(at), tries, whole=proved.whole)
        self._check_claims(proved)
        return AuditReport(
            node_key=ss58(proved.key) if proved.key else "",
            events=proved.log.size,
            root=proved.log.root.hex(),
            time_unix_ns=proved.log.time_unix_ns,
            checkpoint=events.holds,
            parts=sorted(ledger.parts(), key=lambda part: _ORDER.index(part.name)),
            findings=sorted(ledger.findings, key=lambda finding: _ORDER.index(finding.part)),
            findings_left_out=ledger.left_out,
        )

    def _check_format(self) -> None:
        """Refuse what is no data folder; tell where `FORMAT` alone is damaged."""
        path = self._path / "FORMAT"
        try:
            file = self._disk.open(path, writable=False)
            try:
                content = file.read(0, 8192)
            finally:
                file.close()
            events = self._disk.is_folder(self._path / "events")
        except FileNotFoundError:
            what = "it has no FORMAT file" if self._disk.is_folder(self._path) else "there is no such folder"
            raise FolderRefused(f"{self._path} is not a data folder: {what}. Give that of a node (data_dir).") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FolderRefused(f"cannot read {path}: {reason}") from error
        if not events:
            raise FolderRefused(f"{self._path} is not a data folder: it has no folder `events`.")
        self._ledger.count("format")
        found = format_of(content)
        if found is None:
            self._ledger.found("format", "FORMAT", 0, 'not the line {"format": 1, "writer": text}')
        elif found > 1:
            raise FolderRefused(f"{self._path} has format {found}; this build reads format 1. Use a newer build.")
        else:
            self._ledger.count("format", 0, 1)

    # -- the log ------------------------------------------------------------------------------------------------------

    def _segments(self) -> list[str]:
        try:
            return segment_names(self._disk, self._path / "events")
        except OSError as error:
            raise FolderRefused(f"cannot read {self._path / 'events'}: {error.strerror or error}") from error

    def _prove_log(self, notes: Notes, tree: TreePass, wanted: set[int]) -> _Proved:
        """Prove every frame, hold the checkpoints against the roots, and keep those at the sizes that are wanted."""
        ledger = self._ledger
        self._names = self._segments()
        self._covered = notes.largest
        total = log_bytes(self._disk, self._path, self._names)
        log, key = self._pass(), b""
        roots = {0: log.root}
        count = 0
        for frames in log.frames():
            for frame in frames:
                if not frame.first:
                    key = self._key_of(frame)
                    notes.begin(key)
                notes.frame(frame.end, frame.root, frame.first)
                if frame.end in wanted:
                    roots[frame.end] = frame.root
            if tree.is_wanted:
                tree.take(frames[0].first, [event for frame in frames for event in _core.frame_events(frame.data)])
            count += sum(frame.events for frame in frames)
            ledger.tell("log", log.bytes_read, total)
        ledger.count("log", count, count, log.bytes_read)
        if not self._names:
            ledger.found("log", "events", None, "there is no segment of a log")
        if log.stop is not None:
            stop = log.stop
            ledger.count("log")
            status: Status = "torn" if stop.status == _TORN else "damaged"
            ledger.found("log", stop.file, stop.offset, stop.reason, status=status, position=log.size)
        whole = log.stop is None or log.stop.status == _TORN
        notes.end(log.size, whole=whole)
        tree.end(log.size, whole=whole)
        return _Proved(log, key, whole, roots)

    def _pass(self) -> LogPass:
        return LogPass(self._disk, self._path, self._names, self._covered, self._pause)

    def _key_of(self, frame: Frame) -> bytes:
        """Give the node key that the log begins with, held against the one that is here and the one that is wanted."""
        try:
            created = decode(_core.frame_events(frame.data)[0])
        except LogCorrupt:
            created = None
        if not isinstance(created, LogCreated):
            self._ledger.found("log", frame.file, frame.offset, "event 0: it names no node key of 32 bytes", position=0)
            return b""
        key, wanted = created.node_key, self._order.node_key
        if wanted is not None and key != wanted:
            reason = f"event 0: the log is of {ss58(key)}, not of {ss58(wanted)}"
            self._ledger.found("log", frame.file, frame.offset, reason, position=0)
        self._check_key_file(key)
        return key

    def _check_key_file(self, key: bytes) -> None:
        path = self._path / "keys" / "node.key"
        try:
            if not self._disk.exists(path):
                return
            file = self._disk.open(path, writable=False)
            try:
                seed = file.read(0, _KEY_BYTES + 1)
            finally:
                file.close()
        except PermissionError:  # it is its owner's alone, and an auditor may be somebody else
            return
        except OSError as error:
            self._ledger.found("format", "keys/node.key", None, f"it cannot be read: {error.strerror or error}")
            return
        if len(seed) != _KEY_BYTES:
            self._ledger.found("format", "keys/node.key", 0, "not a node key of 32 bytes")
        elif NodeKey(seed).public != key:
            self._ledger.found("format", "keys/node.key", 0, "not the key that event 0 names")

    def _named(self, ids: set[bytes]) -> set[bytes]:
        """Give which of these ids an event of the log names."""
        return named_bodies(self._readable, ids)

    def _readable(self) -> Iterator[AnyEvent | Unknown]:
        """Give every event of the log that can be read."""
        for frames in self._pass().frames():
            for frame in frames:
                for data in _core.frame_events(frame.data):
                    with contextlib.suppress(LogCorrupt, *UNDECODABLE):
                        yield decode(data)

    # -- the events ---------------------------------------------------------------------------------------------------

    def _fold(self, proved: _Proved, events: EventsPass, refold: Refold | None) -> None:
        """Take every proved event through the checks and the fresh tables."""
        size = proved.log.size
        again = self._pass()
        for batch in _batches(again.frames(), size):
            entries = events.frames(batch)
            if refold is not None:
                refold.take(entries)
            self._ledger.tell("events", batch[-1].end, size)
        if again.size < size or (again.size == size and again.root != proved.log.root):
            self._ledger.found("log", "events", None, "it changed while it was read: two readings are not the same")
        events.end()

    def _check_claims(self, proved: _Proved) -> None:
        for claim in self._order.claims:
            self._ledger.count("projections")
            if claim.fault is not None:
                self._ledger.found("projections", claim.file, 0, claim.fault)
            elif claim.size > proved.log.size and not proved.whole:
                self._ledger.note("projections", "not all compared: the log is damaged before their position")
            elif proved.roots.get(claim.size) != claim.root:
                reason = f"the log has another root at its size, {claim.size}: it is of another log"
                self._ledger.found("projections", claim.file, 0, reason)
            else:
                self._ledger.count("projections", 0, 1)


def _batches(frames: Iterator[list[Frame]], size: int) -> Iterator[list[Frame]]:
    """Give frames, at least so many events at once that looking their bodies up is cheap, of the first `size`."""
    batch: list[Frame] = []
    events = 0
    for some in frames:
        for frame in some:
            if frame.end > size:
                break
            batch.append(frame)
            events += frame.events
            if events >= _BATCH_EVENTS:
                yield batch
                batch, events = [], 0
    if batch:
        yield batch
