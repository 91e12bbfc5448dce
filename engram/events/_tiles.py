"""A log as C2SP tlog-tiles: static files from which anybody reads it, and proves it, without Engram.

```
checkpoint                       the largest signed checkpoint, byte for byte: the export ends there
checkpoints/<size, 20 digits>    every signed checkpoint, as the data folder has them
tile/<L>/<N>[.p/<W>]             hashes, 256 to a tile; N in groups of three digits, all but the last after an x
tile/entries/<N>[.p/<W>]         events, 256 to a bundle, each after its length (u16, big-endian)
vkey                             the key that signs, as signed notes have verifiers name it; what makes a folder ours
```
Source: C2SP `tlog-tiles`. Events only: the log carries no user's text, and bodies stay where they are. What is exported
is proved as it is read; the tiles must give the root of every checkpoint before `checkpoint` is written, last of all.
Partial tiles are there for each checkpoint whose tile is not full yet. A folder that was exported to is brought up to
date: what stands there is compared with what has to, and mended where it differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.errors import LogCorrupt, StorageFailed
from engram.events import _checkpoint as checkpoints
from engram.events._log_levels import HASH_BYTES, LEVEL_BITS, LEVELS, TILE_WIDTH, Levels
from engram.events._replay import Replay
from engram.events._segments import NO_ROOM, no_room, read_whole
from engram.events._tile_folder import TileFolder
from engram.events._vocabulary import LogCreated, decode
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from engram.events._checkpoint import Checkpoint
    from engram.events._reader import Entry
    from engram.ports import Disk

_ENTRIES = "entries"


class Exported(msgspec.Struct, frozen=True):
    """What stands in the folder: `size` events under `root`, in so many tiles and bundles. `vkey`: who signs.

    `written`: how many files were made now; `mended`: how many of those were there and were not what they have to be.
    """

    size: int
    root: bytes
    vkey: str
    checkpoints: int
    tiles: int
    written: int
    mended: int


def export_tiles(disk: Disk, data: Path, out: Path, advance: Callable[[int], object] = lambda _bytes: None) -> Exported:
    """Write the log of the data folder `data` to `out`, up to its largest checkpoint; `advance` hears of bytes proved.

    Nothing in `data` is changed, and a node may have it open. Raises `LogCorrupt` where the log or a checkpoint is
    damaged, `FolderRefused` for a folder that holds something else, `DiskFull` or `StorageFailed` where the disk fails.
    """
    try:
        with TileFolder(disk, out) as folder:
            return _Export(disk, data, folder).run(advance)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(out, error) from error
        where = f"{error.filename}: " if error.filename else ""
        raise StorageFailed(f"cannot export {data} to {out}: {where}{error.strerror or error}") from error


class _Export:
    def __init__(self, disk: Disk, data: Path, folder: TileFolder) -> None:
        self._disk = disk
        self._data = data
        self._folder = folder
        self._log = Replay(disk, data)

    def run(self, advance: Callable[[int], object]) -> Exported:
        first = self._log.read()
        public = self._owner(first)
        signed = self._checkpoints(public)
        self._folder.claim(public, {note for _, note in signed.values()})
        size, root = max((checkpoint.size, checkpoint.root) for checkpoint, _ in signed.values())
        tiles = _Tiles(self._folder)
        self._hash(tiles, first, size, advance)
        tiles.finish(signed)
        for checkpoint, _ in signed.values():
            self._hold(tiles, checkpoint)
        self._folder.publish({size: note for size, (_, note) in signed.items()})
        return Exported(
            size=size,
            root=root,
            vkey=checkpoints.vkey(public),
            checkpoints=len(signed),
            tiles=tiles.count,
            written=self._folder.written,
            mended=self._folder.mended,
        )

    def _owner(self, entries: list[Entry]) -> bytes:
        """Give the node's key: the log's first event names it."""
        created = decode(entries[0][2]) if entries else None
        if not isinstance(created, LogCreated):
            raise self._corrupt(1)
        return created.node_key

    def _checkpoints(self, public: bytes) -> dict[int, tuple[Checkpoint, bytes]]:
        """Read and verify every checkpoint there is now; the log had their sizes before it was signed so."""
        folder = self._data / "checkpoints"
        found = {}
        for name in checkpoints.names(self._disk, folder):
            note = read_whole(self._disk, folder / name)
            try:
                checkpoint = checkpoints.parse(note, public)
            except LogCorrupt as error:
                raise LogCorrupt(f"{folder / name}: {error}") from None
            if checkpoints.file_name(checkpoint.size) != name:
                raise LogCorrupt(f"{folder / name} holds the checkpoint of size {checkpoint.size}")
            found[checkpoint.size] = (checkpoint, note)
        if not found:
            raise LogCorrupt(f"{folder} has no checkpoint, so that nothing is signed yet. Stopping the node signs one.")
        return found

    def _hash(self, tiles: _Tiles, entries: list[Entry], size: int, advance: Callable[[int], object]) -> None:
        while entries:
            tiles.add([event for position, _, event in entries if position < size])
            advance(self._log.bytes_read)
            if self._log.size >= size:
                return
            entries = self._log.read()
        raise self._corrupt(size)

    def _corrupt(self, size: int) -> LogCorrupt:
        verdict = self._log.verdict()
        reason = verdict.reason or f"the log ends before event {size - 1}"
        return LogCorrupt(
            f"{self._data / 'events' / verdict.segment}, offset {verdict.offset}: {reason}. "
            f"{verdict.events} events before it are trustworthy; nothing was published."
        )

    def _hold(self, tiles: _Tiles, checkpoint: Checkpoint) -> None:
        if tiles.root(checkpoint.size) != checkpoint.root:
            raise LogCorrupt(
                f"the checkpoint of size {checkpoint.size} does not hold: the log was rolled back or changed. "
                "Nothing was published."
            )


class _Tiles(Levels):
    """Makes a log's tiles of its events, in order, and gives their hashes again."""

    def __init__(self, folder: TileFolder) -> None:
        self._folder = folder
        self._size = 0
        self._events: list[bytes] = []
        self._rows = [bytearray() for _ in range(LEVELS)]  # of each level, what makes no full tile yet
        self._last: dict[int, tuple[int, bytes]] = {}  # of each level, the full tile that was read last
        self.count = 0

    def add(self, events: list[bytes]) -> None:
        """Add the next events."""
        self._events += events
        self._size += len(events)
        while len(self._events) >= TILE_WIDTH:
            self._full(self._events[:TILE_WIDTH], (self._size - len(self._events)) // TILE_WIDTH)
            del self._events[:TILE_WIDTH]

    def _full(self, events: list[bytes], number: int) -> None:
        self._put(_place(_ENTRIES, number), _bundle(events))
        hashes = _core.leaf_hashes(events)
        for level, row in enumerate(self._rows):
            row.extend(hashes)
            if len(row) < TILE_WIDTH * HASH_BYTES:
                return
            self._put(_place(level, number), bytes(row))
            hashes = _core.subtree_roots(bytes(row), TILE_WIDTH)
            row.clear()
            number //= TILE_WIDTH

    def _put(self, place: str, data: bytes) -> None:
        self._folder.put(place, data)
        self._folder.narrow(place)
        self.count += 1

    def finish(self, sizes: Iterable[int]) -> None:
        """Write what is behind the full tiles, as wide as it was at each of these sizes."""
        self._rows[0] += _core.leaf_hashes(self._events)
        for level, row in enumerate(self._rows):
            number = self._size >> LEVEL_BITS * (level + 1)
            rows = [size >> LEVEL_BITS * level for size in sizes]
            widths = {each % TILE_WIDTH for each in rows if each // TILE_WIDTH == number} - {0}
            self._partial(_place(level, number), {width: bytes(row[: width * HASH_BYTES]) for width in widths})
            if level == 0:
                self._partial(_place(_ENTRIES, number), {width: _bundle(self._events[:width]) for width in widths})

    def _partial(self, place: str, tiles: dict[int, bytes]) -> None:
        self._folder.narrow(place, tiles)
        for width, data in sorted(tiles.items()):
            self._folder.put(f"{place}.p/{width}", data)
        self.count += len(tiles)

    def read(self, level: int, start: int, count: int) -> bytes:
        """Give hashes of a level: from the file of a full tile, or of what is behind them."""
        number, first = divmod(start, TILE_WIDTH)
        if number == self._size >> LEVEL_BITS * (level + 1):
            tile = bytes(self._rows[level])
        else:
            tile = self._tile(level, number)
        return tile[first * HASH_BYTES : (first + count) * HASH_BYTES]

    def _tile(self, level: int, number: int) -> bytes:
        last, tile = self._last.get(level, (-1, b""))
        if last != number:
            tile = self._folder.read(_place(level, number))
            self._last[level] = (number, tile)
        return tile


def _bundle(events: list[bytes]) -> bytes:
    return b"".join(len(event).to_bytes(2) + event for event in events)


def _place(level: int | str, number: int) -> str:
    """Give the path of a full tile: its number in groups of three digits."""
    groups = f"{number % 1000:03}"
    while number := number // 1000:
        groups = f"x{number % 1000:03}/{groups}"
    return f"tile/{level}/{groups}"
