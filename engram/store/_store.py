"""The store: bodies, log, tables and indexes of one data folder, kept in step.

A commit runs on the one writer thread: bodies durable, then one frame of events durable, then the tables, then the
published snapshot. Whoever reads sees a snapshot, or the tables through a connection of its own. Nothing is answered
before the last of these has happened.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from typing import TYPE_CHECKING, TypeVar

import msgspec

from engram import events
from engram.errors import DiskFull, EngramError, FolderRefused, StorageFailed
from engram.events import SEGMENT_BYTES
from engram.store import _tables as tables
from engram.store._committer import SNAPSHOT_LEAVES, Committer
from engram.store._fold import Fold
from engram.store._folder import DataFolder
from engram.store._group import Done, Group, Namespace, Operation
from engram.store._index_files import IndexFiles
from engram.store._opening import Opened, fold_log, mended, open_parts
from engram.store._parts import sealed_of
from engram.store._place import load as scrub_place
from engram.store._reading import PUBLIC, Published, Reader
from engram.store._receipts import Frame, RecentFrames
from engram.store._spaces import Spaces
from engram.store._verify_bodies import ranges_of, still_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from engram.events import Checkpoint, Log
    from engram.identity import NodeKey
    from engram.ports import Disk, Rng, Tables
    from engram.store._frames import Body
    from engram.store._parts import Made
    from engram.store._proof_state import Commitment, ProofState

T = TypeVar("T")


class Store(Reader):
    """An open data folder. `commit` and `close` belong to one thread; everything else may be called from any."""

    def __init__(
        self, folder: DataFolder, parts: Opened, connect: Callable[..., sqlite3.Connection], snapshot_leaves: int
    ) -> None:
        super().__init__(parts.bodies, connect)
        self.key = parts.key
        self.folder = folder
        self.refolded = parts.refolded
        """Whether opening folded the tables from the log's beginning."""
        self._parts = parts
        self._log = parts.log
        self._fold = parts.fold
        self._writer = parts.fold.connection
        self.index_files = IndexFiles(folder.disk, folder.path / "index")
        """Where the sealed parts of the indexes are kept."""
        self.index_dropped: list[str] = []
        """What of them opening the folder found unfit, and filled anew from the bodies."""
        self.indexes = Spaces(parts.bodies, self.index_files, self.damage.is_at, self.damage.meet)
        self._namespaces: dict[bytes, Namespace] = {PUBLIC.ns: PUBLIC}
        self._recent = RecentFrames()
        self._erasing = threading.Lock()
        """Held from before a body is overwritten until the tables say so."""
        self._failed: str | None = None
        self._failed_as: type[EngramError] = StorageFailed
        self._committer = Committer(folder, parts.key, parts.log, parts.checkpoint, snapshot_leaves)

    @classmethod
    def open(
        cls,
        disk: Disk,
        tables_port: Tables,
        path: Path,
        rng: Rng,
        now_ns: int,
        writer: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        snapshot_leaves: int = SNAPSHOT_LEAVES,
    ) -> Store:
        """Open the folder, made if absent: lock, key, checkpoints, log, bodies, then the tables folded up to the log.

        `snapshot_leaves`: from how many leaves of the state tries on a snapshot of these is kept.
        Raises `FolderInUse`, `FolderRefused`, `LogCorrupt`, `BodiesCorrupt`, `StorageFailed`.
        """
        folder = DataFolder.open(disk, path, writer)
        call = functools.partial(cls._open, folder, tables_port, rng, now_ns, segment_bytes, snapshot_leaves)
        try:
            return mended(folder, call)
        except (OSError, sqlite3.Error) as error:
            folder.close()
            reason = getattr(error, "strerror", None) or error
            raise StorageFailed(f"cannot open {path}: {reason}") from error
        except BaseException:
            folder.close()
            raise

    @classmethod
    def _open(
        cls,
        folder: DataFolder,
        tables_port: Tables,
        rng: Rng,
        now_ns: int,
        segment_bytes: int,
        snapshot_leaves: int,
    ) -> Store:
        with contextlib.ExitStack() as opened:
            parts = open_parts(folder, tables_port, rng, segment_bytes)
            opened.callback(parts.close)
            connect = functools.partial(tables_port.connect, folder.path / "state.db")
            store = cls(folder, parts, connect, snapshot_leaves)
            opened.callback(store._reader.close)
            store._begin(now_ns)
            opened.pop_all()
        return store

    def _begin(self, now_ns: int) -> None:
        if self._log.size == 0:
            created = events.LogCreated(format=events.FORMAT, node_key=self.key.public)
            self._log.append([events.encode(created)], now_ns)
            self._writer.execute("BEGIN")
            self._advance()
            self._writer.execute("COMMIT")
        _check_owner(self._log, self.key)
        disk, path = self.folder.disk, self.folder.path
        self.damage.find(ranges_of(still_damaged(disk, path, scrub_place(disk, path).findings, self._bodies.tail)))
        sealed, self.index_dropped = self.index_files.open(self._log.root_at)
        self._load_all(sealed)

    def _load_all(self, sealed: Mapping[bytes, Sequence[bytes]]) -> None:
        """Have every namespace's index hold what the tables say, and publish them. `sealed`: digests of segments."""
        self._namespaces = {PUBLIC.ns: PUBLIC}
        for ns, owner, name, model_version, dim, position in self._writer.execute("SELECT * FROM namespaces"):
            self._namespaces[ns] = Namespace(
                ns=ns, name=name, owner=owner, model_version=model_version, dim=dim, position=position
            )
        self._refuse_other_model()
        self.indexes.fill(self._writer, self._namespaces.values(), sealed)
        self._publish(None)

    def _refuse_other_model(self) -> None:
        for digest, location in tables.rows_to_index(self._writer, PUBLIC.ns, limit=1):
            view = self._proved(location, digest)
            if view is not None and view.model_version != PUBLIC.model_version:
                raise FolderRefused(
                    f"the public records of {self.folder.path} are of the model {view.model_version}, and this build's "
                    f"is {PUBLIC.model_version}: use the build that wrote them, or another folder."
                )

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(self, operations: Sequence[Operation], now_ns: int) -> list[Done | EngramError]:
        """Carry out operations in order, durably, as one group or as few as they fit; each succeeds or fails alone.

        All that one operation does is in one frame of the log. What finds no room on the disk has `DiskFull` for its
        outcome, for now. Raises `StorageFailed`, and for ever after, if the disk fails: then none of them is
        acknowledged.
        """
        outcomes: list[Done | EngramError] = []
        while len(outcomes) < len(operations):
            try:
                outcomes += self._commit(operations[len(outcomes) :], now_ns)
            except DiskFull as error:
                outcomes += [error] * (len(operations) - len(outcomes))
        return outcomes

    def _commit(self, operations: Sequence[Operation], now_ns: int) -> list[Done | EngramError]:
        """Carry out as many of the operations as one frame takes."""
        if self._failed is not None:
            raise StorageFailed(self._failed)
        self._check_trusted()
        before = self._log.state
        group = Group(self._fold, self._bodies, self._namespaces, before.size, now_ns, self.damage.is_at, self._recent)
        try:
            self._writer.execute("BEGIN")
            outcomes = group.carry_out(operations)
            overwritten = self._bodies.flush()
            with self._erasing:
                if group.events:
                    committed = self._log.append(group.events, now_ns)
                    group.sign(self.key, before, committed, outcomes)  # who sees the rows finds the receipts
                    erased = self._fold.take_erased()
                    self._bodies.erase(erased)  # before the tables say so: opening the folder goes on with it
                    overwritten += [(body.location, body.location + 1) for body in erased]
                    self._advance()
                self._writer.execute("COMMIT")
            self._bodies.keep()
        except sqlite3.Error as error:
            raise self._tables_failed(error) from error
        except BaseException as error:
            if self._log.size > before.size:
                raise self._tables_failed(error) from error
            self._abandon(error)
            raise
        try:
            if group.events:
                self._follow(group)
            if self.damage.overwrite(overwritten):
                self._load_all(self._sealed())  # of what was damaged the indexes may lack the rows
        except BaseException:
            self._follow_again()
            raise
        return outcomes

    def _tables_failed(self, error: BaseException) -> StorageFailed:
        """End the store: the log may hold events that the tables lack, which only opening it again folds into them."""
        failure = error if isinstance(error, StorageFailed) else self._cannot_be_written(error)
        self._abandon(failure)
        return failure

    def _cannot_be_written(self, error: BaseException) -> StorageFailed:
        reason = str(error) if isinstance(error, sqlite3.Error | EngramError) else type(error).__name__
        return StorageFailed(f"the tables in {self.folder.path / 'state.db'} cannot be written: {reason}")

    def _abandon(self, error: BaseException) -> None:
        self._fold.forget()
        unnamed = self._bodies.discard()
        if isinstance(error, StorageFailed):
            self._failed = error.message
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as worse:
            self._failed = self._failed or f"{self.folder.path / 'state.db'} cannot be rolled back: {worse}"
        if unnamed and self._failed is None:
            self._remember(unnamed)

    def _remember(self, unnamed: Sequence[Body]) -> None:
        """Note where bodies stand whose events found no room: a fold of the segments gives these places too."""
        try:
            self._writer.execute("BEGIN")
            self._fold.add_bodies(unnamed)
            self._bodies.erase(self._fold.take_erased())
            self._advance()
            self._writer.execute("COMMIT")
        except (sqlite3.Error, StorageFailed) as error:
            raise self._tables_failed(error) from error
        self._publish(())

    def _follow(self, group: Group) -> None:
        self._committer.follow(self._fold)
        self._namespaces.update(group.created)
        changed = self.indexes.follow(group.changes, self._namespaces)
        self.indexes.widen(group.measured, self._namespaces)
        for ns in group.dropped:
            del self._namespaces[ns]
            self.indexes.drop(ns)
        self._publish((changed | set(group.measured)) - group.dropped, group.dropped)

    def _follow_again(self) -> None:
        """Make what is durable found, whatever went wrong on the way; where that fails too, end the store.

        It must not go on: every later group would publish indexes that lack what this one did.
        """
        try:
            self._load_all(self._sealed())
        except BaseException as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._failed = (
                f"cannot read {self.folder.path}: {reason}. What was written is durable; open the folder again."
            )
            raise StorageFailed(self._failed) from error

    def _advance(self) -> None:
        self._fold.advance(self._log.size, self._log.root, self._bodies.tail, self._log.segment_start)

    def _publish(self, changed: Iterable[bytes] | None, dropped: Iterable[bytes] = ()) -> None:
        """Give readers what there is now: of the indexes those that have changed; None: all of them, and no others."""
        indexes = {} if changed is None else dict(self.published.indexes)
        indexes |= self.indexes.publish(changed)
        for ns in dropped:
            indexes.pop(ns, None)
        self.published = Published(
            self._log.size,
            self._log.root,
            self._fold.digest,
            self._bodies.tail,
            dict(self._namespaces),
            indexes,
            self.indexes.generation,
        )

    def adopt(self, made: Made) -> None:
        """Put a segment in the place of the parts that it was built from, if they are still there."""
        if self._failed is None and self.indexes.adopt(made):
            self._publish((made.task.ns,))

    def _sealed(self) -> dict[bytes, list[bytes]]:
        return sealed_of(self.published.indexes)

    def refold(self) -> None:
        """Fold the tables again from the log and the bodies, where their rows went wrong; then they are read again.

        Raises `StorageFailed`, and for ever after, where that fails: opening folds them then.
        """
        if self._failed is not None:
            raise StorageFailed(self._failed)
        try:
            self._committer.forget()
            self._writer.execute("BEGIN")
            tables.reset(self._writer)
            tables.expect_much(self._writer)
            fold = Fold(self._writer, None)
            fold.add_bodies(self._bodies.all())
            fold_log(fold, self._log, self._bodies, 0)
            self._writer.execute("COMMIT")
            tables.expect_little(self._writer)
            self._fold = fold
            self._load_all(self._sealed())
        except BaseException as error:
            raise self._tables_failed(error) from error
        self._distrusted = False

    # -- committing to what is held -----------------------------------------------------------------------------------

    @property
    def proofs(self) -> ProofState:
        """What was committed to, and what may be challenged of it; for any thread."""
        return self._committer.proofs

    @property
    def is_committed(self) -> bool:
        """Whether nothing has happened since the last checkpoint; for any thread."""
        return self._log.size == self._committer.checkpoint_size

    def prepare_commitment(self) -> None:
        """Load what the first commitment needs, beside the writer's thread: any other one may, one at a time."""
        self._check_trusted()
        self._committer.prepare(self.open_tables)

    def commitment(self, now_ns: int, position: int | None = None) -> Commitment:
        """Give a commitment that speaks for the event at `position`; None: for all there are.

        The latest one stands where it does. Raises `Unavailable` while the tables are known to be wrong, `DiskFull`,
        and `StorageFailed`, for ever after.
        """
        if self._failed is not None:
            raise StorageFailed(self._failed)
        self._check_trusted()
        self._signing(lambda: self._committer.take_standing(self._fold, now_ns))
        wanted = self._log.size - 1 if position is None else min(position, self._log.size - 1)
        if not self.proofs.reaches(wanted):
            self._commit_state(now_ns)
        self._committer.promote(now_ns)
        latest = self.proofs.latest
        assert latest is not None, "something was committed to"
        return latest

    def keep_snapshot(self) -> None:
        """Keep the tries that were committed to last, where there is no such snapshot; any one thread may.

        A disk that does not take it is told of by the next write that must be kept.
        """
        with contextlib.suppress(OSError):
            self._committer.keep_snapshot(self.skipped)

    def checkpoint(self, now_ns: int) -> Checkpoint | None:
        """Commit the state tries' roots to the log and sign the log's size and root; None if nothing has happened.

        None too where the store has failed, or its tables are known to be wrong: it promises nothing then. Raises
        `DiskFull`, after which a later one may find room, and `StorageFailed`, for ever after.
        """
        if self._failed is not None or self._distrusted or self._log.size == self._committer.checkpoint_size:
            return None
        return self._commit_state(now_ns)

    def _commit_state(self, now_ns: int) -> Checkpoint:
        return self._signing(lambda: self._committer.commit(self._fold, now_ns, self._follow_log))

    def _signing(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except StorageFailed as error:
            self._failed = error.message
            raise
        except sqlite3.Error as error:
            raise self._tables_failed(error) from error

    def tombstone_of(self, digest: bytes) -> bytes | None:
        """Give the last event by which somebody who held a record had it erased; None where it is not erased."""
        with self._erasing:
            pass  # the tables say of what has gone why it has
        positions = self._look(lambda connection: tables.erased_by(connection, digest))
        if not positions:
            return None
        [(_, _, event)] = self._log.reader(positions[-1]).read(limit_events=1)
        return event

    def _follow_log(self) -> None:
        """Have tables and readers know of events that no table folds. Raises `StorageFailed`, for ever after."""
        try:
            self._writer.execute("BEGIN")
            self._advance()
            self._writer.execute("COMMIT")
        except BaseException as error:
            raise self._tables_failed(error) from error
        self._publish(())

    def close(self, now_ns: int) -> None:
        """Write a checkpoint, if the disk is sound, and release the folder."""
        with contextlib.ExitStack() as closing:
            closing.callback(self.folder.close)
            closing.callback(self._parts.close)
            closing.callback(self._close_reader)
            closing.callback(self._let_go)
            closing.callback(self.index_files.close)  # before nothing is published, which it would take for the truth
            self.checkpoint(now_ns)
            self.keep_snapshot()

    def _let_go(self) -> None:
        """Hold the maps of the bodies no longer; who reads still is refused from now on."""
        self._closed = True
        self.indexes.clear()
        self._asked = None
        self.published = msgspec.structs.replace(self.published, indexes={})

    @property
    def log(self) -> Log:
        """The log; what is committed may be read by any thread."""
        return self._log

    @property
    def failure(self) -> EngramError | None:
        """What nothing more is written for, where the disk or the tables have failed; None while all is well."""
        return None if self._failed is None else self._failed_as(self._failed)

    @property
    def skipped(self) -> frozenset[str]:
        """The types of events in the log that this build does not know, and did not fold."""
        return self._fold.skipped

    def frame_of(self, position: int) -> Frame | None:
        """Give the frame of an event that was answered with of late, for its receipt; any thread may ask."""
        return self._recent.frame_of(position)

    def sizes(self) -> tuple[int, int]:
        """Give the sizes of log and bodies in bytes."""
        return self._log.bytes(), self._bodies.bytes()

    # -- what was found wrong -----------------------------------------------------------------------------------------

    def fail(self, error: EngramError) -> None:
        """End the store for what was found in its files: nothing more is written."""
        self._failed, self._failed_as = error.message, type(error)

    def body_at(self, location: int) -> bytes | None:
        """Give the id that stands at a location in the bodies; None where they end before. Raises `OSError`."""
        return self._bodies.id_at(location)


def _check_owner(log: Log, key: NodeKey) -> None:
    [(_, _, first)] = log.reader().read(limit_events=1)
    created = events.decode(first)
    if not isinstance(created, events.LogCreated) or created.node_key != key.public:
        raise FolderRefused("the log in this folder is of another node key; restore keys/node.key from its backup")
    if created.format > events.FORMAT:  # an older one stands there for ever: the log is never rewritten
        raise FolderRefused(f"the log has format {created.format}; this build reads format {events.FORMAT}")
