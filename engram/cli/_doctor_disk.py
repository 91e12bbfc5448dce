"""What `engram-node doctor` looks at on the disk: the data folder, its file system, room and speed, and the time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engram.cli._doctor_check import Check
from engram.cli._text import duration, size, utc

if TYPE_CHECKING:
    from engram.node import Config

FORMAT = 1
"""The data format that this build writes."""
_ROOM = 1 << 30
_SYNCS = 15
_SLOW_SYNC_S = 0.02
_AHEAD_S = 60.0
_BORN_S = 1_767_225_600  # 2026-01-01: before it there was no Engram
_MOUNTS = Path("/proc/self/mountinfo")
_FAR = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.glusterfs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
    "virtiofs",
    "drvfs",
}
_GONE = {"tmpfs", "ramfs"}


def check_folder(config: Config) -> Check:
    """Judge whether the data folder, or the place where it will be, can be written."""
    folder = config.data_dir.absolute()
    place = _existing(folder)
    if not place.is_dir():
        return Check("data folder", "fail", f"{place} is not a folder", "name another with --data")
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "data folder", "fail", f"{place} cannot be written", "change its owner, or name another with --data"
        )
    state = _format(folder)
    if state is None:
        return Check("data folder", "ok", f"{folder}, new" if place != folder else f"{folder}, no memory in it yet")
    number, holder = state
    if number is None:
        return Check(
            "data folder", "fail", f"{folder}/FORMAT cannot be read", "restore it from a copy; do not delete it"
        )
    if number > FORMAT:
        return Check(
            "data folder", "fail", f"{folder}, format {number}", f"written by a newer Engram; this one knows {FORMAT}"
        )
    if holder:
        return Check("data folder", "ok", f"{folder}, format {number}, open in {holder}")
    return Check("data folder", "ok", f"{folder}, format {number}")


def check_space(config: Config) -> Check:
    """Judge the room on the disk of the data folder."""
    place = _existing(config.data_dir.absolute())
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        return Check("free space", "warn", size(free), f"under {size(_ROOM)}: a node that fills its disk stops")
    return Check("free space", "ok", size(free))


def check_disk(config: Config) -> Check:
    """Measure how long the disk takes to make 4 KiB durable: what every acknowledged write waits for."""
    try:
        median = statistics.median(_sync_times(_existing(config.data_dir.absolute())))
    except OSError as error:
        return Check("disk sync", "fail", error.strerror or str(error), "the disk must be writable and able to sync")
    found = f"{duration(median)}, median of {_SYNCS}"
    if median > _SLOW_SYNC_S:
        return Check("disk sync", "warn", found, "slow: single writes wait for it; put the data folder on a local SSD")
    return Check("disk sync", "ok", found)


def check_file_system(config: Config) -> Check | None:
    """Judge the kind of the file system, where the platform tells it."""
    kind = _file_system(_existing(config.data_dir.absolute()))
    if kind is None:
        return None
    if kind in _FAR:
        return Check(
            "file system", "warn", f"{kind}, over a network", "locks and syncs may not hold there: use a local disk"
        )
    if kind in _GONE:
        return Check("file system", "warn", f"{kind}, in memory", "it is gone with a restart: use a disk")
    return Check("file system", "ok", kind)


def check_clock(config: Config) -> Check:
    """Judge the time, against that of the log's last write too."""
    now = time.time()
    if now < _BORN_S:
        return Check("clock", "fail", utc(time.time_ns(), "seconds"), "the year is wrong; set the clock, by NTP say")
    written = max((file.stat().st_mtime for file in (config.data_dir / "events").glob("*.log")), default=0.0)
    if written > now + _AHEAD_S:
        return Check(
            "clock",
            "warn",
            f"{duration(written - now)} behind the log's last write",
            "the clock went back, or the log comes from a machine whose clock is ahead: set it, by NTP say",
        )
    return Check("clock", "ok", utc(time.time_ns(), "seconds"))


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _format(folder: Path) -> tuple[int | None, str] | None:
    """Give the folder's format number (None: unreadable) and who holds it; None where it holds no memory."""
    path = folder / "FORMAT"
    try:
        with path.open("rb") as file:
            number = json.loads(file.readline())["format"]
            return (number if isinstance(number, int) else None), _holder(folder, file.fileno())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _holder(folder: Path, descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return f"process {int((folder / 'pid').read_text('ascii'))}"
        except (OSError, ValueError):
            return "another process"
    return ""


def _sync_times(folder: Path) -> list[float]:
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".engram-doctor-") as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            _sync(file.fileno())
            times.append(time.perf_counter() - started)
    return times


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _file_system(place: Path) -> str | None:
    """Give the kind of the file system that a path is on; None where the platform does not say."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
        real = place.resolve()
    except OSError:
        return None
    found: tuple[str | None, int] = None, -1
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= found[1]:
            found = after.split()[0], len(point.parts)
    return found[0]
