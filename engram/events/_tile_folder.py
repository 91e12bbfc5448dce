"""The folder that a log is exported to: whole files or none, of one log and one history, locked while in use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from engram.errors import FolderRefused, LogCorrupt
from engram.events import _checkpoint as checkpoints
from engram.events._segments import read_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from engram.ports import Disk, File

_WIDTH = re.compile(r"[1-9][0-9]{0,2}")
_VKEY, _LATEST, _ALL = "vkey", "checkpoint", "checkpoints"


class TileFolder:
    """A folder of an export. One thread uses it, and no other process beside it."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self._lock: File | None = None
        self._folders: set[Path] = set()
        self._partial: list[tuple[str, set[str]]] = []
        self.written = 0
        """How many files were made or changed."""
        self.mended = 0
        """How many of them were there, and were not what they have to be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def claim(self, public: bytes, notes: Collection[bytes]) -> None:
        """Make the folder one of the log with these checkpoints, or refuse it before anything in it is changed."""
        vkey = f"{checkpoints.vkey(public)}\n".encode()
        names = [name for name in self._disk.list(self._path) if not name.startswith(".")]
        if names and _VKEY not in names:
            raise FolderRefused(f"{self._path} holds {names[0]!r} and no export. Give an empty folder, or a new one.")
        if names and not vkey.startswith(self.read(_VKEY)):  # less of it: who began was killed
            raise FolderRefused(f"{self._path} is the export of another log. Give an empty folder, or a new one.")
        self._disk.make_folder(self._path)
        self._lock = self._disk.open(self._path / _VKEY, create=True)
        if not self._lock.lock():
            raise FolderRefused(f"another export is writing to {self._path}. Wait for its end.")
        for name in [_LATEST, *(f"{_ALL}/{each}" for each in self._disk.list(self._path / _ALL))]:
            self._refuse_another_history(name, public, notes)
        self._lock.write(0, vkey)
        self._lock.sync()
        self._disk.sync_folder(self._path)

    def _refuse_another_history(self, name: str, public: bytes, notes: Collection[bytes]) -> None:
        try:
            if (note := self.read(name)) in notes:
                return
            held = checkpoints.parse(note, public)
        except (FileNotFoundError, LogCorrupt):
            return  # not there, or rotten: it is written again
        raise FolderRefused(
            f"{self._path / name} is a checkpoint of this log, of size {held.size}, which its folder has not: the "
            "log was rolled back or changed. Keep both, they are evidence, and give a new folder."
        )

    def read(self, place: str) -> bytes:
        """Give the bytes of a file; `FileNotFoundError` where there is none."""
        return read_whole(self._disk, self._path / place)

    def put(self, place: str, data: bytes) -> None:
        """Have a file with these bytes; one that has them is left alone."""
        path = self._path / place
        if path.parent not in self._folders:
            self._disk.make_folder(path.parent)
            self._folders.update(folder for folder in path.parents if folder.is_relative_to(self._path))
        if self._disk.exists(path):
            if self.read(place) == data:
                return
            self.mended += 1
        self.written += 1
        self._write(path, data)

    def _write(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f".{path.name}.new")
        file = self._disk.open(fresh, create=True)
        try:
            file.truncate(0)
            file.write(0, data)
            file.sync()
        finally:
            file.close()
        self._disk.rename(fresh, path)

    def narrow(self, place: str, widths: Iterable[int] = ()) -> None:
        """Have no other partial tiles than of these widths, once what takes the place of the others is durable."""
        if self._disk.list(self._path / f"{place}.p"):
            self._partial.append((f"{place}.p", {str(width) for width in widths}))

    def publish(self, notes: Mapping[int, bytes]) -> None:
        """Write the checkpoints, and the largest as the one to start from, once all that they speak for is durable."""
        for size, note in notes.items():
            self.put(f"{_ALL}/{checkpoints.file_name(size)}", note)
        for folder in sorted(self._folders):  # of all names: who wrote some may have been killed before it synced them
            self._disk.sync_folder(folder)
        latest = self._path / _LATEST
        if not self._disk.exists(latest) or self.read(_LATEST) != notes[max(notes)]:
            self._write(latest, notes[max(notes)])
        self._disk.sync_folder(self._path)
        for place, widths in self._partial:
            self._remove(self._path / place, widths)

    def _remove(self, folder: Path, but: set[str]) -> None:
        """Remove partial tiles, and nothing else that may stand there: the folder may lead to somebody's own files."""
        names = set(self._disk.list(folder))
        gone = {name for name in names - but if _WIDTH.fullmatch(name)}
        for name in gone:
            self._disk.remove(folder / name)
        if names == gone:
            self._disk.remove_folder(folder)
