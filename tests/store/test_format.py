"""What becomes of folders by what their FORMAT says."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from store.test_store import NOW, open_store, put

from engram.errors import FolderRefused, StorageFailed
from engram.events import FORMAT
from engram.runtime import RealDisk
from engram.store import _store
from engram.store._folder import DataFolder
from engram.store._format import settle

if TYPE_CHECKING:
    from pathlib import Path

DISK = RealDisk()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def written(folder: Path) -> dict[str, object]:
    text = (folder / "FORMAT").read_text()
    assert text.endswith("\n")
    return json.loads(text)


def test_a_new_folder_says_its_format_and_who_wrote_it(folder):
    open_store(folder).close(NOW)
    assert written(folder) == {"format": FORMAT, "writer": "test"}


@pytest.mark.parametrize("number", [FORMAT + 1, 10**18])
def test_a_newer_format_is_refused(folder, number):
    content = f'{{"format": {number}, "writer": "engram-node 9.0"}}\n'
    (folder / "FORMAT").write_text(content)
    with pytest.raises(FolderRefused, match=rf"format {number}, written by engram-node 9\.0"):
        open_store(folder)
    assert (folder / "FORMAT").read_text() == content


NO_FORMAT = ["{}", "[1]", "nonsense", "\xff", '{"format": true}', '{"format": "1"}', '{"format": 1.5}', "[" * 4000]
NO_FORMAT += ['{"format": 1}' + " " * 5000 + "x", '{"format": \n', '{"format": 1, "writer": "x\n', '{"writer": "x"}\n']


@pytest.mark.parametrize("content", NO_FORMAT, ids=range(len(NO_FORMAT)))
def test_a_format_file_that_is_none_is_refused_untouched(folder, content):
    (folder / "FORMAT").write_bytes(content.encode("latin-1"))
    (folder / "events").mkdir()
    with pytest.raises(FolderRefused, match="FORMAT"):
        open_store(folder)
    assert (folder / "FORMAT").read_bytes() == content.encode("latin-1")


UNFINISHED = [b"", bytes(52), b"{", b'{"format": ', b'{"format": 1, "wri', b'{"format": 1' + bytes(40)]


@pytest.mark.parametrize("content", UNFINISHED)
def test_a_folder_whose_making_was_cut_off_is_made_again(folder, content):
    """FORMAT is durable before anything else: without it there is nothing yet to lose."""
    (folder / "FORMAT").write_bytes(content)
    (folder / "pid").write_text("7\n")
    open_store(folder).close(NOW)
    assert written(folder) == {"format": FORMAT, "writer": "test"}


@pytest.mark.parametrize("content", UNFINISHED)
def test_a_folder_that_lost_its_format_is_refused_untouched(folder, content):
    open_store(folder).close(NOW)
    (folder / "FORMAT").write_bytes(content)
    with pytest.raises(FolderRefused, match=r"FORMAT is empty or cut off, and the folder holds 'bodies'"):
        open_store(folder)
    assert (folder / "FORMAT").read_bytes() == content


def test_a_line_that_somebody_wrote_by_hand_is_one(folder):
    open_store(folder).close(NOW)
    (folder / "FORMAT").write_bytes(b' {"writer":"me","format":1}')
    open_store(folder).close(NOW)


def test_an_older_folder_goes_up_a_step_at_a_time_and_its_log_stays(folder):
    store = open_store(folder)
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    log = (folder / "events" / f"{0:020}.log").read_bytes()
    steps: list[tuple[int, int]] = []
    upgrades = {n: lambda _, path, n=n: steps.append((n, written(path)["format"])) for n in (1, 2, 3)}
    opened = DataFolder.open(DISK, folder, "engram-node of later", upgrades, 4)
    assert (opened.upgraded_from, steps) == (1, [(1, 1), (2, 2), (3, 3)])
    opened.close()
    assert written(folder) == {"format": 4, "writer": "engram-node of later"}
    assert (folder / "events" / f"{0:020}.log").read_bytes() == log
    opened = DataFolder.open(DISK, folder, "x", upgrades, 4)
    assert (opened.upgraded_from, len(steps)) == (None, 3)
    opened.close()
    assert written(folder)["writer"] == "engram-node of later"


def test_the_log_of_an_upgraded_folder_may_be_of_an_older_format_but_of_no_newer(folder, monkeypatch):
    open_store(folder).close(NOW)
    monkeypatch.setattr(_store.events, "FORMAT", 2)
    open_store(folder).close(NOW)
    monkeypatch.setattr(_store.events, "FORMAT", 0)
    with pytest.raises(FolderRefused, match="the log has format 1; this build reads format 0"):
        open_store(folder)


def test_an_older_format_that_no_step_upgrades_is_refused(folder):
    (folder / "FORMAT").write_text('{"format": 1, "writer": "engram-node 0.1"}\n')
    ran = []
    with pytest.raises(FolderRefused, match=r"format 1, written by engram-node 0\.1; no step .* upgrades format 2"):
        DataFolder.open(DISK, folder, "x", {1: lambda _, path: ran.append(path)}, 3)


def test_a_step_that_fails_leaves_the_old_format_and_the_lock_free(folder):
    (folder / "FORMAT").write_text('{"format": 1, "writer": "engram-node 0.1"}\n')

    def fails(disk, path):
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageFailed, match="No space"):
        DataFolder.open(DISK, folder, "x", {1: fails}, 2)
    assert written(folder)["format"] == 1
    opened = DataFolder.open(DISK, folder, "x", {1: lambda *_: None}, 2)
    opened.close()


def noting(steps: list[int], number: int):
    return lambda *_: steps.append(number)


class Cut(Exception):
    """The power went."""


class CutFile:
    """A file of which a power cut at call `left` keeps any of what was not synced: what may stand there is `kept`."""

    def __init__(self, content: bytes, left: int) -> None:
        self.content, self.left = content, left
        self.kept = {content}

    def _call(self, change) -> None:
        self.left -= 1
        wanted = change(self.content)
        begun = {wanted}
        for before in self.kept:
            after = change(before)
            begun |= {before, after, before.ljust(len(after), b"\0"), after[: len(before)]}
        self.kept |= begun
        if self.left < 0:
            raise Cut
        self.content = wanted

    def read(self, offset, size):
        return self.content[offset : offset + size]

    def size(self):
        return len(self.content)

    def truncate(self, size):
        self._call(lambda content: content[:size])

    def write(self, offset, data):
        self._call(lambda content: content[:offset].ljust(offset, b"\0") + data + content[offset + len(data) :])

    def sync(self):
        self.left -= 1
        if self.left < 0:
            raise Cut
        self.kept = {self.content}


@pytest.mark.parametrize("writer", ["x", "engram-node of a far later day with a long name"])
@pytest.mark.parametrize("before", [b"", b'{"format": 1, "writer": "engram-node 0.1"}\n'])
def test_a_power_cut_at_any_call_leaves_a_folder_that_goes_up(tmp_path, before, writer):
    seen = 0
    if before:
        (tmp_path / "events").mkdir()
    for left in itertools.count():
        file = CutFile(before, left)
        done: list[int] = []
        upgrades = {n: noting(done, n) for n in (1, 2)}
        try:
            settle(file, DISK, tmp_path, writer, upgrades, 3)
        except Cut:
            pass
        else:
            break
        for content in file.kept:
            seen += 1
            again, rest = CutFile(content, 1000), list(done)
            upgrades = {n: noting(rest, n) for n in (1, 2)}
            settle(again, DISK, tmp_path, writer, upgrades, 3)
            assert json.loads(again.content) == {"format": 3, "writer": writer}
            assert not before or sorted(set(rest)) == [1, 2]
    assert json.loads(file.content) == {"format": 3, "writer": writer}
    assert left >= (2 if not before else 4)
    assert seen > left
