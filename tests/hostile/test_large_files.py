"""A folder from a stranger whose files claim to be large, or hide work in what looks unfinished.

A sparse file of a terabyte costs its maker nothing. Before this was looked for, opening such a folder read it into
memory until there was none left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import golden
import pytest
from hostile.test_forged_folders import audited

from engram.errors import EngramError
from engram.events import SEGMENT_BYTES
from engram.native import _core
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import Store

TERABYTE = 1 << 40
FOLDER = golden.DATA / "folder"
NAMES = [
    *(str(path.relative_to(FOLDER)) for path in sorted(FOLDER.rglob("*")) if path.is_file()),
    "scrub", "index/MANIFEST", "trie/tries", "checkpoints/00000000000000000099", "events/00000000000000000099.log",
    "bodies/00000000000000000001.seg", "bodies/99999999999999999999.seg", "pid",
]  # fmt: skip


class FrugalDisk(RealDisk):
    """A disk of which nobody may read more at once than a segment."""

    def open(self, path, **options):
        file = super().open(path, **options)
        read = file.read

        def frugal(offset, size):
            assert size <= SEGMENT_BYTES + 1, f"{size} bytes of {path.name} at once"
            return read(offset, size)

        file.read = frugal
        return file


def opened(folder: Path) -> None:
    store = Store.open(FrugalDisk(), RealTables(), folder, RealRng(), 2**62, "test")
    try:
        store.commitment(2**62)
    finally:
        store.close(2**62)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_a_terabyte_is_refused_or_passed_over(name):
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        shutil.copytree(FOLDER, folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
        os.truncate(folder / name, TERABYTE)
        with contextlib.suppress(EngramError):
            opened(folder)
        with contextlib.suppress(FileNotFoundError):  # it was passed over, and is gone
            os.truncate(folder / name, TERABYTE)
        assert audited(folder).status in {"sound", "torn", "damaged"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name):
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        shutil.copytree(FOLDER, folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        with contextlib.suppress(EngramError):
            opened(folder)


def bomb(magic: bytes, step: int, header: int, size: int) -> bytes:
    """Headers at every place where a frame may begin, each of which claims all that it can of what follows."""
    data = bytearray(size)
    for at in range(step, size - header, step):
        length = min(size - at - header, (1 << 20) if step == 64 else (8 << 20) - header)
        data[at : at + 12] = magic + b"\0\0\0\0" + length.to_bytes(4, "little")
        data[at + 16 : at + 24] = b"\x7f" * 8
    data[step : step + header] = magic.ljust(header, b"\1")
    return bytes(data)


def test_a_log_whose_tail_is_full_of_headers_is_judged_in_time():
    """Each header that could be a later frame's had its CRC taken over all that it claims: hours for a segment."""
    data = bomb(b"EGL1", 64, 64, 4 << 20)
    began = time.thread_time()
    frames, (status, _, _) = _core.LogState().scan(bytes(64) + data[64:], True, 0)
    assert (frames, status != 0) == ([], True)
    assert time.thread_time() - began < 2


def test_bodies_whose_tail_is_full_of_headers_are_judged_in_time():
    data = bomb(b"EGB1", 64, 64, 4 << 20)
    began = time.thread_time()
    frames, _, (status, _, _) = _core.scan_bodies(bytes(64) + data[64:], 0, None, True, True)
    assert (frames, status != 0) == ([], True)
    assert time.thread_time() - began < 2
