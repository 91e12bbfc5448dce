"""Where an embedded memory is kept: in a folder, in this process's memory, or in one file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram.node._config import Config
from engram.node._node import real_world
from engram.runtime import MemoryDisk, MemoryTables
from engram.store import PackedFile

if TYPE_CHECKING:
    from engram.node._node import World

MEMORY = ":memory:"
SUFFIX = ".engram"
"""What the name of a single file ends in; any regular file that is there already is taken for one, too."""


class Place:
    """A data folder."""

    def __init__(self, data_dir: Path, world: World | None = None) -> None:
        self.data_dir = data_dir
        self.world = world or real_world()
        self.scrub_mb_s = Config().scrub_mb_s
        """How fast what is kept there is read again, to look for damage."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing that is being written keeps a reader waiting."""
        return True

    def take(self) -> None:
        """Make the data folder ready to be opened. Raises an `EngramError` where it cannot be."""

    def leave(self, *, sound: bool, changed: bool) -> None:
        """Put the closed data folder where it belongs. `sound`: it was closed well; `changed`: its log grew."""


class InMemory(Place):
    """Nowhere but in this process, until it is closed."""

    def __init__(self) -> None:
        self._tables = MemoryTables()
        world = msgspec.structs.replace(real_world(), disk=MemoryDisk(), tables=self._tables)
        super().__init__(Path("/") / MEMORY, world)
        self.scrub_mb_s = 0

    @property
    def is_quiet(self) -> bool:
        """Whether no group is being written, for whose end a reader of the tables waits."""
        return not self._tables.is_busy

    def leave(self, *, sound: bool, changed: bool) -> None:
        """Let go of all of it."""
        del sound, changed
        self._tables.close()


class InFile(Place):
    """One file, which is a folder beside it while it is open."""

    def __init__(self, path: Path, world: World | None = None) -> None:
        world = world or real_world()
        self._file = PackedFile(world.disk, path.resolve())
        super().__init__(self._file.folder, world)

    def take(self) -> None:
        """Unpack the file, or take up the folder of who could not pack it."""
        self._file.unpack()

    def leave(self, *, sound: bool, changed: bool) -> None:
        """Pack the folder; one that was not closed well stays as it is, for who opens it next."""
        try:
            if sound:
                self._file.pack(changed=changed)
        finally:
            self._file.release()


def place_of(path: str | Path) -> Place:
    """Give the place that a path names."""
    if str(path) == MEMORY:
        return InMemory()
    path = Path(path)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # whoever opens it says what is wrong with it
        if path.is_file() or (path.suffix == SUFFIX and not path.is_dir()):
            return InFile(path)
    return Place(path)
