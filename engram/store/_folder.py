"""The data folder: whose format it has, and who holds it. Formats §3, architecture "What is where on disk"."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from engram.errors import FolderInUse, FolderRefused, StorageFailed
from engram.events import FORMAT

if TYPE_CHECKING:
    from pathlib import Path

    from engram.ports import Disk, File


_BEGINS = b'{"format": '


class DataFolder:
    """An open, locked data folder."""

    def __init__(self, disk: Disk, path: Path, lock: File) -> None:
        self.disk = disk
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, disk: Disk, path: Path, writer: str) -> DataFolder:
        """Open the folder, made if absent, and lock it.

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
                "Give a folder that this user can write to (data_dir, --data-dir)."
            ) from error
        try:
            if not lock.lock():
                raise FolderInUse(_holder(disk, path))
            _check_format(disk, lock, path, writer)
            _write_small(disk, path / "pid", f"{os.getpid()}\n")
            disk.sync_folder(path)
        except OSError as error:
            lock.close()
            raise StorageFailed(f"cannot open {path}: {error.strerror or error}") from error
        except BaseException:
            lock.close()
            raise
        return cls(disk, path, lock)

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


def _check_format(disk: Disk, lock: File, path: Path, writer: str) -> None:
    line = lock.read(0, 4096)
    try:
        content: Any = json.loads(line)
        found = content["format"]
    except (ValueError, KeyError, TypeError):
        begun = line.rstrip(b"\0")
        if set(disk.list(path)) <= {"FORMAT", "pid"} and begun[: len(_BEGINS)] == _BEGINS[: len(begun)]:
            lock.truncate(0)  # the first start, or one that a crash ended here
            lock.write(0, json.dumps({"format": FORMAT, "writer": writer}).encode() + b"\n")
            lock.sync()
            return
        raise FolderRefused(f"{path / 'FORMAT'} is not a line of JSON with a format; is this a data folder?") from None
    if found != FORMAT:
        raise FolderRefused(
            f"the data folder {path} has format {found!r}, written by {content.get('writer', 'another build')}; "
            f"this build reads format {FORMAT}. Use a newer build, or another folder."
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
