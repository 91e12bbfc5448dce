"""The data folder: whose format it has, and who holds it. Formats §3, architecture "What is where on disk"."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engram.errors import FolderInUse, FolderRefused, StorageFailed
from engram.events import FORMAT
from engram.store._format import UPGRADES, settle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engram.ports import Disk, File
    from engram.store._format import Step


class DataFolder:
    """An open, locked data folder."""

    def __init__(self, disk: Disk, path: Path, lock: File, upgraded_from: int | None) -> None:
        self.disk = disk
        self.path = path
        self.upgraded_from = upgraded_from
        """The format that it had before it was opened, if that was older than this build's."""
        self._lock = lock

    @classmethod
    def open(
        cls, disk: Disk, path: Path, writer: str, upgrades: Mapping[int, Step] = UPGRADES, wanted: int = FORMAT
    ) -> DataFolder:
        """Open the folder, made if absent, lock it, and bring it to the format `wanted`.

        `FolderInUse` names the process that holds it; `FolderRefused` says why the folder cannot be used, and
        `StorageFailed` how the disk failed.
        """
        try:
            _refuse_strange(disk, path)
            disk.make_folder(path)
            lock = disk.open(path / "FORMAT", create=True)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or error
            raise FolderRefused(
                f"cannot write to the data folder {path}: {reason}. "
                "Give a folder that this user can write to (data_dir, --data)."
            ) from error
        try:
            if not lock.lock():
                raise FolderInUse(_holder(disk, path))
            upgraded_from = settle(lock, disk, path, writer, upgrades, wanted)
            _write_small(disk, path / "pid", f"{os.getpid()}\n")
            disk.sync_folder(path)
        except OSError as error:
            lock.close()
            raise StorageFailed(f"cannot open {path}: {error.strerror or error}") from error
        except BaseException:
            lock.close()
            raise
        return cls(disk, path, lock, upgraded_from)

    def close(self) -> None:
        """Release the folder."""
        self._lock.close()


def _refuse_strange(disk: Disk, path: Path) -> None:
    """Refuse a folder that holds something else, before anything is written into it."""
    if disk.exists(path / "FORMAT"):
        return
    strange = [name for name in disk.list(path) if not name.startswith(".") and name != "lost+found"]
    if strange:
        raise FolderRefused(
            f"{path} is not a data folder: it holds {strange[0]!r} and no FORMAT. Give an empty folder, or a new one."
        )


def _holder(disk: Disk, path: Path) -> str:
    pid = _read_small(disk, path / "pid").strip()
    who = f"process {pid}" if pid.isdigit() else "another process"
    return (
        f"the data folder {path} is in use by {who}. Talk to it over its port (--node engram://127.0.0.1:8090), "
        "stop it first, or give another folder."
    )


def _read_small(disk: Disk, path: Path) -> str:
    if not disk.exists(path):
        return ""
    file = disk.open(path, writable=False)
    try:
        return file.read(0, 64).decode("ascii", "replace")
    finally:
        file.close()


def _write_small(disk: Disk, path: Path, text: str) -> None:
    file = disk.open(path, create=True)
    try:
        file.truncate(0)
        file.write(0, text.encode())
    finally:
        file.close()
