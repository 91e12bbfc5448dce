"""Every call to the disk fails once: what was acknowledged is there afterwards, and a failed sync is the end."""

from __future__ import annotations

import errno
import shutil

import pytest
from disks import FaultyDisk
from store.test_store import NOW, open_store, put, vector

from engram.errors import DiskFull, FolderRefused, StorageFailed
from engram.events import Replay
from engram.runtime import RealDisk
from engram.store import PUBLIC, DeleteOperation

COMMITS = 6
FINAL = (StorageFailed, FolderRefused)


def operations(store, number):
    """What commit `number` is asked: two puts, and from time to time a delete of the one put two commits before."""
    asked = [put(store, f"{part} {number}", 1.0, number + 1) for part in ("first", "second")]
    if number % 3 == 2:
        before = put(store, f"first {number - 2}", 1.0, number - 1)
        asked.append(DeleteOperation(PUBLIC.ns, before.digest, store.key.public))
    return asked


def small_segments(store):
    store._bodies._limit = store._bodies._writer._limit = 8192
    store._log._writer._limit = 1600


def live(path, disk):
    """A node's life; give what it acknowledged, (text, is it there), and how it ended."""
    acknowledged = {}
    try:
        store = open_store(path, disk)
    except (*FINAL, DiskFull) as error:
        return acknowledged, error
    ended = None
    small_segments(store)
    for number in range(COMMITS):
        asked = operations(store, number)
        try:
            if number == COMMITS // 2:
                store.checkpoint(NOW + number)
            outcomes = store.commit(asked, NOW + number)
        except StorageFailed as error:
            ended = error
            for operation in asked:  # it may have happened, or not
                acknowledged.pop(operation.digest, None)
            assert_over(store)
            break
        except DiskFull:
            outcomes = store.commit(asked, NOW + number)
        if any(isinstance(outcome, DiskFull) for outcome in outcomes):
            outcomes = store.commit(asked, NOW + number)  # there is room again
        for operation, outcome in zip(asked, outcomes, strict=True):
            assert not isinstance(outcome, Exception), outcome
            acknowledged[operation.digest] = not isinstance(operation, DeleteOperation)
    try:
        store.close(NOW + COMMITS)
    except (StorageFailed, DiskFull) as error:
        ended = ended or error
    return acknowledged, ended


def assert_over(store):
    """A store whose disk failed answers reads, and refuses every write for ever."""
    assert store.count() >= 0
    for number in range(COMMITS, COMMITS + 3):
        with pytest.raises(StorageFailed):
            store.commit(operations(store, number), NOW + COMMITS)


def assert_kept(path, acknowledged):
    again = open_store(path)
    for digest, there in acknowledged.items():
        assert (again.get(PUBLIC.ns, digest) is not None) == there
    asked = {operation.digest for number in range(COMMITS) for operation in operations(again, number)}
    held = {digest for digest, _ in again.browse(PUBLIC.ns, None, 0, 1000)[0]}
    assert held <= asked
    assert len(held - {digest for digest, there in acknowledged.items() if there}) <= 3  # one commit, unanswered
    proved = Replay(RealDisk(), path)
    while proved.read():
        pass
    assert (proved.verdict().status, proved.root) == (0, again._log.root)
    again.commit([put(again, "afterwards", 1.0)], NOW * 2)
    again.close(NOW * 2)


def calls(tmp_path_factory):
    disk = FaultyDisk()
    acknowledged, ended = live(tmp_path_factory.mktemp("run") / "data", disk)
    assert ended is None
    assert len(acknowledged) == 2 * COMMITS
    return disk.called


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_whichever_call_fails_nothing_acknowledged_is_lost(tmp_path_factory, error):
    whole = calls(tmp_path_factory)
    kinds = {call.split()[0] for call in whole}
    assert kinds == {"make_folder", "create", "write", "truncate", "datasync", "sync", "rename", "sync_folder"}
    assert sum("create bodies/." in call for call in whole) > 2
    assert sum("create events/." in call for call in whole) > 2
    survived = []
    for at, call in enumerate(whole):
        path = tmp_path_factory.mktemp("run") / "data"
        disk = FaultyDisk(at, error)
        acknowledged, ended = live(path, disk)
        assert disk.failed.split()[0] == call.split()[0]
        if ended is None:
            survived.append(call)
        assert_kept(path, acknowledged)
        shutil.rmtree(path)
    # A full disk that has room again a moment later ends nothing where nothing had been written yet; all else is final.
    if error == errno.EIO:
        assert survived == []
    else:
        assert {call.split()[0] for call in survived} == {"create", "write", "truncate"}
        assert len([call for call in survived if call.startswith("write")]) < 2 * COMMITS


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("folder", ["bodies", "events"])
def test_no_sync_is_tried_again_after_one_has_failed(tmp_path_factory, folder, error):
    whole = calls(tmp_path_factory)
    at = [index for index, call in enumerate(whole) if call.startswith(f"datasync {folder}/")][3]
    disk = FaultyDisk(at, error)
    _, ended = live(tmp_path_factory.mktemp("run") / "data", disk)
    assert isinstance(ended, StorageFailed)
    assert f"/{folder}/" in ended.message
    assert not [call for call in disk.called[at + 1 :] if folder in call]


def test_a_disk_without_room_refuses_writes_and_takes_them_when_there_is(tmp_path):
    disk = FaultyDisk(error=errno.ENOSPC)
    store = open_store(tmp_path / "data", disk)
    store.commit([put(store, "east", 1.0)], NOW)
    store._bodies._writer._allocated = store._bodies._writer.end  # what was allocated is used up
    disk.at, disk.forever = len(disk.called), True
    for _ in range(3):
        [refused] = store.commit([put(store, "north", 0.0, 1.0)], NOW)
        assert isinstance(refused, DiskFull)
        assert "bodies" in refused.message
        assert "No space left" in refused.message
    assert store.count() == 1
    assert [item.view.text for item in store.search(PUBLIC.ns, vector(1.0), 9, None).found] == ["east"]
    disk.at, disk.forever, disk.failed = None, False, None
    [done] = store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert done.created
    store.close(NOW)
    again = open_store(tmp_path / "data")
    assert again.count() == 2
    again.close(NOW)


def test_a_full_disk_gets_back_what_an_allocation_took_of_it(tmp_path):
    disk = FaultyDisk(error=errno.ENOSPC)
    store = open_store(tmp_path / "data", disk)
    store.commit([put(store, "east", 1.0)], NOW)
    writer = store._log._writer
    writer._file.truncate(writer.end)
    writer._allocated = size = writer.end
    disk.at = len(disk.called) + 2  # after a body and its sync
    [refused] = store.commit([put(store, "north", 0.0, 1.0)], NOW)
    assert "events" in refused.message
    assert writer.path.stat().st_size == size
    store.close(NOW)
