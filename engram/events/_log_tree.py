"""The log's tree on disk: hashes of complete subtrees, from which any proof about the log is made.

Under `tree/` stands a file a level: `0` has the hash of each event, 32 bytes each, `1` the root of each 256 events, `2`
of each 65,536, and so on: the levels of C2SP tlog-tiles, one tile behind the other. Nothing else needs the files, and
nothing trusts them: they are appended to without a sync, may be removed at any time, and each proof is verified, up to
the root that the log has, before it is given. Where one fails, the files are made again from the log.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from engram.errors import LogCorrupt, StorageFailed, Unprocessable
from engram.events._log_levels import HASH_BYTES, LEVEL_BITS, LEVELS, TILE_WIDTH, Levels
from engram.events._log_proof import consistency_ranges, inclusion_ranges, verify_consistency, verify_leaf
from engram.events._segments import NO_ROOM, no_room
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from engram.events._log import Log
    from engram.events._reader import LogReader
    from engram.ports import Disk, File

    T = TypeVar("T")

_BATCH_EVENTS = 8192
_BATCH_BYTES = 4 * 1024 * 1024


class _Wrong(Exception):
    """The files are not those of the log."""


class LogTree:
    """Proves what stands in a log, which may grow meanwhile. One thread at a time uses it, and nobody else its folder.

    It reads the log when it is asked, from where it was, and costs whoever appends nothing. Memory: a batch of events
    while it catches up, a few KiB for a proof. Raises `StorageFailed` or `DiskFull` where the disk fails, and
    `LogCorrupt` where the log's events do not give the log's root.
    """

    def __init__(self, disk: Disk, folder: Path, log: Log) -> None:
        self._disk = disk
        self._folder = folder
        self._log = log
        self._reader: LogReader | None = None
        self._proved = (0, _core.LogState().root)
        self.size = 0
        """How many events it has hashed, as far as is known."""

    def catch_up(self, limit_events: int | None = None) -> bool:
        """Hash what has been appended since, at most about `limit_events`; say whether that is all of the log.

        An idle thread may call it now and then, so that whoever wants a proof need not wait for it.
        """
        return self._until_right(lambda files: self._catch_up(files, limit_events))

    def root(self, size: int) -> bytes:
        """Give the root of the log when it had `size` events, wherever its frames end."""
        self._check(size, "size")
        return self._proving(lambda files: self._root(files, size))

    def inclusion(self, position: int, size: int) -> list[bytes]:
        """Prove the event at `position` to who has the root of the log of `size` events: hashes, leaf upwards."""
        self._check(size, "size")
        if not 0 <= position < size:
            raise Unprocessable(f"position {position} is not one of a log of {size} events", field="position")
        return self._proving(lambda files: self._inclusion(files, position, size))

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Prove that the log of `second` events begins with all of the log of `first` events."""
        self._check(second, "second")
        if not 0 <= first <= second:
            raise Unprocessable(f"a log of {second} events had never {first}", field="first")
        return self._proving(lambda files: self._consistency(files, first, second))

    def _check(self, size: int, field: str) -> None:
        if not 0 <= size <= self._log.size:
            raise Unprocessable(f"{field} {size}: the log has {self._log.size} events", field=field)

    # -- right, or made again -------------------------------------------------------------------------------------

    def _proving(self, prove: Callable[[_Levels], T]) -> T:
        def run(files: _Levels) -> T:
            self._catch_up(files, None)
            return prove(files)

        return self._until_right(run)

    def _until_right(self, run: Callable[[_Levels], T]) -> T:
        """Run; where the files turn out to be of no such log, make them again and run once more."""
        try:
            return self._with_files(run)
        except _Wrong:
            raise LogCorrupt(
                f"the events of {self._folder.parent} do not give the root that its log has. "
                "`engram-node audit` says from where on."
            ) from None
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(self._folder, error) from error
            raise StorageFailed(f"cannot keep the log's tree in {self._folder}: {error.strerror or error}") from error

    def _with_files(self, run: Callable[[_Levels], T]) -> T:
        with _Levels(self._disk, self._folder) as files:
            try:
                try:
                    return run(files)
                except _Wrong:
                    self._begin_again(files)
                    return run(files)
            except BaseException:
                self._reader = None  # whatever stands in the files by now is looked at again
                raise

    def _begin_again(self, files: _Levels) -> None:
        files.cut(0)
        self.size, self._proved = 0, (0, _core.LogState().root)
        self._reader = self._log.reader()

    # -- following the log ----------------------------------------------------------------------------------------

    def _catch_up(self, files: _Levels, limit_events: int | None) -> bool:
        if self._reader is None:
            self.size = min(files.size(), self._log.size)
            files.cut(self.size)
            self._reader = self._log.reader(self.size)
        most = None if limit_events is None else self.size + max(limit_events, 1)
        while self.size != (tip := self._log.tip)[0]:
            if most is not None and self.size >= most:
                return False
            self._append(files, self._reader)
        if self._proved != tip:
            if files.root(tip[0]) != tip[1]:
                raise _Wrong
            self._proved = tip
        return True

    def _append(self, files: _Levels, reader: LogReader) -> None:
        entries = reader.read(_BATCH_EVENTS, _BATCH_BYTES)
        if not entries or entries[0][0] != self.size:
            raise LogCorrupt(f"the log has no event {self.size}")
        files.append(self.size, _core.leaf_hashes([event for *_, event in entries]))
        self.size += len(entries)

    # -- proofs ---------------------------------------------------------------------------------------------------

    def _root(self, files: _Levels, size: int) -> bytes:
        """Give the root at a size, once it is proved to be that of the log's beginning."""
        root = files.root(size)
        path = files.hashes(consistency_ranges(size, self._proved[0]))
        if not verify_consistency(size, root, *self._proved, path):
            raise _Wrong
        return root

    def _inclusion(self, files: _Levels, position: int, size: int) -> list[bytes]:
        path = files.hashes(inclusion_ranges(position, size))
        if not verify_leaf(files.read(0, position, 1), position, size, path, self._root(files, size)):
            raise _Wrong
        return path

    def _consistency(self, files: _Levels, first: int, second: int) -> list[bytes]:
        path = files.hashes(consistency_ranges(first, second))
        if not verify_consistency(first, files.root(first), second, self._root(files, second), path):
            raise _Wrong
        return path


class _Levels(Levels):
    """The files of a tree, opened when they are needed and closed at the end."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._open: dict[int, File] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._disk.make_folder(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def size(self) -> int:
        """Give how many events the files speak for: the lowest level may be ahead of the others by part of a tile."""
        return min((count + 1 << LEVEL_BITS * level) - 1 for level, count in enumerate(self._counts()))

    def cut(self, size: int) -> None:
        """Take away what is beyond `size` events."""
        for level, count in enumerate(self._counts()):
            if count > (kept := size >> (LEVEL_BITS * level)):
                self._file(level).truncate(kept * HASH_BYTES)

    def append(self, size: int, leaves: bytes) -> None:
        """Add the hashes of events behind the first `size`, and the roots of what is complete with them."""
        for level in range(LEVELS):
            self._file(level).write(size * HASH_BYTES, leaves)
            complete = (size + len(leaves) // HASH_BYTES) // TILE_WIDTH
            size //= TILE_WIDTH
            if complete == size:
                return
            leaves = _core.subtree_roots(
                self.read(level, size * TILE_WIDTH, (complete - size) * TILE_WIDTH), TILE_WIDTH
            )

    def read(self, level: int, start: int, count: int) -> bytes:
        """Give hashes of a level."""
        found = self._file(level).read(start * HASH_BYTES, count * HASH_BYTES)
        if len(found) != count * HASH_BYTES:
            raise _Wrong
        return found

    def _counts(self) -> list[int]:
        return [
            self._file(level).size() // HASH_BYTES if self._disk.exists(self._path(level)) else 0
            for level in range(LEVELS)
        ]

    def _file(self, level: int) -> File:
        file = self._open.get(level)
        if file is None:
            file = self._open[level] = self._disk.open(self._path(level), create=True)
            self._closing.callback(file.close)
        return file

    def _path(self, level: int) -> Path:
        return self._folder / str(level)
