"""What the store commits to: the state tries, kept in step with the log once they are needed, and who may read them.

Opening a folder leaves them alone. They are loaded for the first checkpoint or proof, by whatever thread prepares that,
or by the writer's where none has; from then on each group is taken in. What is wrong with them on disk is never seen:
a snapshot that does not fit is passed over, and the tables are the fold of the log.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engram import events
from engram.events import StateCommitted, TrieRoot, checkpoints, read_whole, segment_name
from engram.native import _core
from engram.store import _tables as tables
from engram.store import _trie_file as trie_file
from engram.store._leaves import Leaves
from engram.store._proof_state import Commitment, ProofState
from engram.store._tries import catch_up, of_tables

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from engram.events import Checkpoint, Log
    from engram.identity import NodeKey
    from engram.store._fold import Fold
    from engram.store._folder import DataFolder
    from engram.store._tries import Tries, Views

SNAPSHOT_LEAVES = 16_384
"""Leaves from which on a snapshot of the tries is kept: fewer are read from the tables as fast."""

_GROWN = 8
"""A snapshot is written anew once so many times the events since it are as many as the leaves."""
_NO_TRIE = TrieRoot(bytes(32), 0)


class Committer:
    """The tries of one store. The writer's thread uses it, but for what says otherwise."""

    def __init__(self, folder: DataFolder, key: NodeKey, log: Log, checkpoint: Checkpoint | None, leaves: int) -> None:
        """`leaves`: from how many on a snapshot is kept."""
        self._folder = folder
        self._key = key
        self._log = log
        self._tries: Tries | None = None
        self._prepared: tuple[int, Tries] | None = None
        self._trust = 0
        """Grows when what was read from the tables so far is not to be trusted."""
        self._last: tuple[int, tuple[bytes, list[bytes]] | None] | None = None
        """The log's last event with its path, of a log of this size."""
        self._snapshot_leaves = leaves
        self._snapshot_position = 0
        self.checkpoint_size = checkpoint.size if checkpoint else 0
        self.proofs = ProofState()
        """What provers read, from any thread."""

    # -- the tries ----------------------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether the tries are loaded; for any thread."""
        return self._tries is not None or (self._prepared is not None and self._prepared[0] == self._trust)

    def prepare(self, open_tables: Callable[[], sqlite3.Connection]) -> None:
        """Load what the first commitment needs, so that the writer's thread need not; any one thread may."""
        if self.is_ready:
            return
        if self._log.size == self.checkpoint_size:
            self._last = self._log.size, self._last_event()
        trust = self._trust
        with contextlib.closing(open_tables()) as connection:
            self._prepared = trust, self._load(connection)

    def follow(self, fold: Fold) -> None:
        """Take in what a group has changed, once it is durable."""
        if self._tries is not None and (leaves := fold.take_leaves()) is not None:
            self._tries.follow(leaves, self._log.size)

    def forget(self) -> None:
        """Forget the tries, their snapshot, and what was committed to with them. Raises `OSError`.

        The tables that they were made of are wrong.
        """
        self._trust += 1
        self.proofs = ProofState()
        self._tries = self._prepared = None
        self._snapshot_position = 0
        trie_file.remove(self._folder.disk, self._folder.path)

    def _views(self, fold: Fold) -> Views:
        """Give the tries as they are at the log's end, where the tables are too."""
        if self._tries is None:
            prepared, self._prepared = self._prepared, None
            tries = prepared[1] if prepared and prepared[0] == self._trust else self._load(fold.connection)
            catch_up(tries, self._log, fold.connection)
            fold.watch_leaves()
            self._tries = tries
        return self._tries.views()

    def _load(self, connection: sqlite3.Connection) -> Tries:
        tries = trie_file.load(self._folder.disk, self._folder.path, self._log.root_at, self._log.size)
        if tries is not None and self._log.size - tries.position < len(tries):
            self._snapshot_position = tries.position
            return tries
        connection.execute("SAVEPOINT tries")  # all of it as one commit left it
        try:
            progress = tables.progress_of(connection)
            return of_tables(connection, progress.position if progress else 0)
        finally:
            connection.execute("RELEASE tries")

    def keep_snapshot(self, skipped: frozenset[str]) -> None:
        """Write a snapshot of what was committed to last, where it pays; any one thread may. Raises `OSError`."""
        trust, latest = self._trust, self.proofs.latest
        if latest is None:
            return
        leaves = len(latest.records) + len(latest.heads)
        if leaves < self._snapshot_leaves or (latest.size - self._snapshot_position) * _GROWN < leaves:
            return
        trie_file.save(self._folder.disk, self._folder.path, latest, skipped)
        if self._trust == trust:
            self._snapshot_position = latest.size
        else:  # it is of tables that were wrong, and came behind the removal of such
            trie_file.remove(self._folder.disk, self._folder.path)

    # -- commitments --------------------------------------------------------------------------------------------------

    def commit(self, fold: Fold, now_ns: int, follow_log: Callable[[], None]) -> Checkpoint:
        """Name the tries in the log and sign that; `follow_log` is called once the event is durable.

        Raises `DiskFull`, `StorageFailed`, `sqlite3.Error`.
        """
        views = self._views(fold)
        before = self._log.state
        event = events.encode(_event_of(views))
        frame = self._log.append([event], now_ns)
        follow_log()
        assert self._tries is not None
        self._tries.follow(Leaves(), frame.size)
        signed = events.Checkpoint(frame.size, frame.root)
        note = checkpoints.write(self._folder.disk, self._folder.path / "checkpoints", signed, self._key)
        self.checkpoint_size = frame.size
        path = before.roots[::-1]  # the last leaf's siblings are the complete subtrees before it
        self._take(note, event, path, frame.size, frame.root, frame.time_unix_ns, views, now_ns)
        return signed

    def take_standing(self, fold: Fold, now_ns: int) -> None:
        """Take up the checkpoint of an earlier process, where the log has nothing behind it and the tries are its."""
        if self.proofs.latest is not None or self._log.size != self.checkpoint_size:
            return
        last, self._last = self._last, None
        found = last[1] if last and last[0] == self._log.size else self._last_event()
        if found is None:
            return
        event, path = found
        views = self._views(fold)
        if event != events.encode(_event_of(views)):
            return
        log = self._log
        note = checkpoints.sign(events.Checkpoint(log.size, log.root), self._key)
        self._take(note, event, path, log.size, log.root, log.time_unix_ns, views, now_ns)

    def promote(self, now_ns: int) -> None:
        """Have the latest commitment be challengeable if another may be, and let go of those that have expired."""
        self.proofs = self.proofs.promoted(now_ns)

    def _take(
        self,
        note: bytes,
        event: bytes,
        path: list[bytes],
        size: int,
        root: bytes,
        time_unix_ns: int,
        views: Views,
        now_ns: int,
    ) -> None:
        commitment = Commitment(note, event, path, size, root, time_unix_ns, views.records, views.heads)
        self.proofs = self.proofs.committed(commitment, now_ns)

    def _last_event(self) -> tuple[bytes, list[bytes]] | None:
        """Give the log's last event and its inclusion path; None where its frame has others too."""
        start = self._log.segment_start
        try:
            data = read_whole(self._folder.disk, self._folder.path / "events" / segment_name(start.size))
        except OSError:
            return None  # what is appended next will tell
        frames, _ = _core.LogState(start.size, start.roots, start.time_unix_ns).scan(data, True, 0)
        if not frames:  # the segment has just been begun, or whoever began it was killed
            return None
        offset, size, first, count, _, _ = frames[-1]
        if count != 1 or first + count != self._log.size:
            return None
        before = _core.LogState(start.size, start.roots, start.time_unix_ns)
        before.scan(data[:offset], True, 0)
        [event] = _core.frame_events(data[offset : offset + size])
        return event, before.roots[::-1]


def _event_of(views: Views) -> StateCommitted:
    roots = [TrieRoot(view.root, len(view)) for view in (views.records, views.heads)]
    return StateCommitted(records=roots[0], edges=_NO_TRIE, heads=roots[1])
