"""Parts of the index on disk: sealed, merged and found again at a start, and worth nothing where they do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engram import record
from engram.errors import StorageFailed
from engram.identity import PUBLIC_NAMESPACE
from engram.store import CreateOperation, DeleteOperation, DropOperation, Indexing, IndexLimits, PutOperation, Store
from engram.store._index_files import Manifest
from engram.store._parts import PartSize, Task, choose
from engram.store._spaces import Spaces
from engram.testing import LoseAll, SimDisk, SimRng, SimTables, stream

DATA = Path("/data")
INDEX = f"{DATA}/index/"
NOW = 1_767_225_600_000_000_000
LIMITS = IndexLimits(seal_rows=4, merge=3, largest_rows=20)


def vector(number):
    return np.random.default_rng(number).standard_normal(384).astype(np.float32)


class Folder:
    """A data folder on a simulated disk, and the lives of its store."""

    def __init__(self):
        self.disk = SimDisk()
        self.tables = SimTables(self.disk, stream(0, "tables"))

    def open(self):
        self.store = Store.open(self.disk, self.tables, DATA, SimRng(stream(0, "rng")), NOW, "test")
        self.indexing = Indexing(self.store, LIMITS)
        return self.store

    def operation(self, number):
        digest, payload = record.encode_vector(
            record.stored_vector(vector(number)), record.canonical_metadata({"n": number}), "v1"
        )
        return PutOperation(PUBLIC_NAMESPACE, digest, payload, self.store.key.public)

    def put(self, *numbers):
        self.store.commit([self.operation(number) for number in numbers], NOW)

    def delete(self, *numbers):
        operations = [self.operation(number) for number in numbers]
        self.store.commit([DeleteOperation(each.ns, each.digest, each.signer) for each in operations], NOW)

    def filled(self):
        """Three segments' rows: merged to one, and two rows more."""
        self.open()
        for first in (0, 4, 8):
            self.put(*range(first, first + 4))
            self.indexing.settle()
        self.put(20, 21)
        return self

    def again(self, change=lambda _: None):
        self.store.close(NOW)
        change(self.disk)
        return self.open()

    def sizes(self):
        return [(rows, dead) for _, rows, dead, _ in self.store.published.indexes[PUBLIC_NAMESPACE].sizes]

    def found(self, number=7):
        """What is found, of everything: numbers, nearest first."""
        answer = self.store.search(PUBLIC_NAMESPACE, vector(number).tobytes(), 1000, None, exact=True)
        return [int(bytes(found.view.metadata).split(b":")[1].rstrip(b"}")) for found in answer.found]

    def expected(self, numbers, number=7):
        wanted = vector(number)
        return sorted(numbers, key=lambda other: -cosine(wanted, vector(other)))

    def files(self):
        return sorted(path.removeprefix(INDEX) for path in self.disk.files() if path.startswith(INDEX))


def cosine(one, other):
    one, other = one.astype(np.float64), other.astype(np.float64)
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


EVERYTHING = [*range(12), 20, 21]


@pytest.fixture
def folder():
    return Folder().filled()


# -- what is chosen ------------------------------------------------------------------------------------------------------


def chosen(head_rows, *sealed, limits=LIMITS):
    return choose(
        [PartSize(number, rows, dead) for number, (rows, dead) in enumerate(sealed)], PartSize(99, head_rows, 0), limits
    )


@pytest.mark.parametrize(
    ("head", "sealed", "parts"),
    [
        (3, [(4, 0), (4, 0)], ()),
        (4, [(4, 4)], (99,)),  # a full head first: it grows on
        (0, [(4, 0), (20, 4)], (1,)),
        (0, [(20, 3)], ()),  # 15 % and no more
        (0, [(4, 4)], (0,)),
        (0, [(4, 0), (5, 0), (4, 0)], (0, 2, 1)),
        (0, [(4, 0), (12, 0), (5, 0), (11, 1)], (0, 2, 3)),  # of 11 rows 10 live, which is like 4 and not like 12
        (0, [(4, 0), (4, 0), (12, 0)], ()),
        (0, [(12, 0), (13, 0), (14, 0)], ()),  # more than the largest may have
    ],
)
def test_what_is_due_is_chosen(head, sealed, parts):
    assert chosen(head, *sealed) == parts


@pytest.mark.parametrize("grown_on", [0, 1, 30_000])
def test_by_default_a_million_rows_are_written_three_times(grown_on):
    """16 seals, 4 merges to 262,144, one to 1,048,576, and then nothing more; a head may have grown on when it is sealed."""
    limits, parts, written = IndexLimits(), {}, 0
    head = limits.seal_rows + grown_on
    for number in range(16):
        parts[number] = PartSize(number, head, 0)
        written += head
        while picked := choose(list(parts.values()), PartSize(99, 0, 0), limits):
            rows = sum(parts.pop(part).rows for part in picked)
            parts[100 + written] = PartSize(100 + written, rows, 0)
            written += rows
    assert [part.rows for part in parts.values()] == [16 * head]
    assert written == 3 * 16 * head


# -- a start -------------------------------------------------------------------------------------------------------------


def test_a_start_maps_what_is_sealed_and_reads_only_the_rest_from_the_bodies(folder, monkeypatch):
    assert folder.sizes() == [(12, 0), (2, 0)]
    added = []
    monkeypatch.setattr(Spaces, "_add", counting(added, Spaces._add))
    folder.again()
    assert sum(added) == 2
    assert folder.store.index_dropped == []
    assert folder.sizes() == [(12, 0), (2, 0)]
    assert folder.found() == folder.expected(EVERYTHING)


def counting(added, add_rows):
    def counted(self, space, rows):
        added.append(len(rows))
        add_rows(self, space, rows)

    return counted


def test_what_was_deleted_and_came_again_after_it_was_sealed_is_as_the_tables_say(folder):
    folder.delete(1, 5, 6)
    folder.put(5)
    folder.again()
    assert folder.sizes() == [(12, 2), (2, 0)]  # 5 lives in the segment again
    assert folder.found() == folder.expected(sorted({*EVERYTHING} - {1, 6}))


def test_a_second_namespace_and_a_second_signer_have_their_own(folder):
    store = folder.store
    store.commit([CreateOperation(store.key.public, "notes", "sim/1", 384)], NOW)
    ns = max(store.published.namespaces, key=lambda ns: store.published.namespaces[ns].position)
    several = [msgspec.structs.replace(folder.operation(number), ns=ns) for number in range(5)]
    store.commit([*several, msgspec.structs.replace(several[2], signer=bytes(32))], NOW)
    folder.indexing.settle()
    folder.again()
    sizes = [(rows, dead) for _, rows, dead, _ in folder.store.published.indexes[ns].sizes]
    assert sizes == [(4, 0), (1, 0)]
    assert folder.found() == folder.expected(EVERYTHING)


def test_a_power_cut_leaves_the_segments_and_every_row(folder):
    folder.disk = folder.disk.crash(LoseAll())
    folder.tables = folder.tables.after(folder.disk, "missing")
    folder.open()
    assert folder.store.index_dropped == []
    assert folder.sizes() == [(12, 0), (2, 0)]
    assert folder.found() == folder.expected(EVERYTHING)


# -- what does not fit ---------------------------------------------------------------------------------------------------


def rewritten(disk, name, data):
    file = disk.open(Path(INDEX + name), create=True)
    file.truncate(0)
    file.write(0, data)
    file.sync()
    file.close()


def segment_name(disk):
    return next(path for path in disk.files() if path.startswith(INDEX) and path.endswith(".seg")).removeprefix(INDEX)


def manifest_with(disk, **changed):
    data = disk.files()[f"{INDEX}MANIFEST"]
    manifest = msgspec.structs.replace(msgspec.msgpack.decode(data[32:], type=Manifest), **changed)
    encoded = msgspec.msgpack.encode(manifest)
    rewritten(disk, "MANIFEST", hashlib.sha256(encoded).digest() + encoded)


def flipped(disk, name, at):
    disk.flip(INDEX + name, at, 3)


def another_segment(disk):
    name = segment_name(disk)
    rewritten(disk, name, b"EGSG" + bytes(60))


UNFIT = {
    "the segment is missing": (lambda disk: disk.remove(Path(INDEX + segment_name(disk))), "No such file"),
    "the segment has a flipped bit": (lambda disk: flipped(disk, segment_name(disk), 700), "digest"),
    "the segment has lost its end": (
        lambda disk: rewritten(disk, segment_name(disk), disk.files()[INDEX + segment_name(disk)][:-64]),
        "length",
    ),
    "the segment is of nothing": (another_segment, "version"),
    "the MANIFEST has a flipped bit": (lambda disk: flipped(disk, "MANIFEST", 40), "checksum"),
    "the MANIFEST is empty": (lambda disk: rewritten(disk, "MANIFEST", b""), "checksum"),
    "the MANIFEST is of another format": (lambda disk: manifest_with(disk, format=2), "format 2"),
    "the MANIFEST is no MANIFEST": (
        lambda disk: rewritten(disk, "MANIFEST", hashlib.sha256(b"\x90").digest() + b"\x90"),
        "none of this build's",
    ),
    "the log had another root": (lambda disk: manifest_with(disk, root=bytes(32)), "another root at position"),
    "the log was not that long": (lambda disk: manifest_with(disk, position=10**6), "another root at position"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_dropped_and_filled_anew(folder, name):
    change, said = UNFIT[name]
    folder.delete(3)
    folder.again(change)
    [reason] = folder.store.index_dropped
    assert said in reason
    assert folder.sizes() == [(13, 0)]
    assert folder.found() == folder.expected(sorted({*EVERYTHING} - {3}))
    folder.indexing.settle()
    folder.again()
    assert folder.store.index_dropped == []
    assert folder.sizes() == [(12, 0), (1, 0)]
    assert folder.found() == folder.expected(sorted({*EVERYTHING} - {3}))


def test_without_a_manifest_segments_are_nobodys(folder):
    folder.again(lambda disk: disk.remove(Path(f"{INDEX}MANIFEST")))
    assert folder.store.index_dropped == []
    assert folder.files() == []
    assert folder.found() == folder.expected(EVERYTHING)


def test_a_segment_of_another_dimension_than_its_namespace_is_not_used(folder):
    store = folder.store
    store.commit([CreateOperation(store.key.public, "small", "sim/1", 8)], NOW)
    ns = max(store.published.namespaces, key=lambda ns: store.published.namespaces[ns].position)

    def exchange(disk):
        data = disk.files()[f"{INDEX}MANIFEST"]
        [digests] = msgspec.msgpack.decode(data[32:], type=Manifest).segments.values()
        manifest_with(disk, segments={ns: digests})

    folder.again(exchange)
    assert len(folder.store.published.indexes[ns]) == 0
    assert folder.found() == folder.expected(EVERYTHING)


def test_leftovers_are_removed_at_the_start(folder):
    kept = folder.files()
    folder.again(lambda disk: [rewritten(disk, name, b"x") for name in (".MANIFEST.new", "old.seg", ".ab.seg.new")])
    assert folder.files() == kept
    assert folder.store.index_dropped == []


def test_a_segment_that_reads_back_as_another_is_a_failed_disk(folder, monkeypatch):
    folder.put(22, 23)
    task = folder.indexing.next()
    files = folder.store.index_files
    write = files._replace
    monkeypatch.setattr(files, "_replace", lambda name, data: write(name, bytes(data)[:-1] + b"\x01"))
    with pytest.raises(OSError, match="not what was written"):
        folder.indexing.build(task)


def test_what_is_not_ours_in_the_folder_stays_and_keeps_nobody_from_opening(folder):
    kept = folder.files()

    def change(disk):
        rewritten(disk, "notes.txt", b"x")
        disk.make_folder(Path(INDEX) / "more")

    folder.again(change)
    assert folder.files() == sorted([*kept, "notes.txt"])
    assert folder.store.index_dropped == []


@pytest.mark.parametrize("call", ["remove", "sync_folder"])
def test_a_leftover_that_cannot_be_removed_keeps_nobody_from_opening(folder, call):
    def change(disk):
        rewritten(disk, "old.seg", b"x")
        disk.hook = hook

    def hook(called, path, offset, size):
        if called == call and "/index" in path:
            raise OSError(30, "Read-only file system")

    folder.again(change)
    assert folder.store.index_dropped == ["index/: Read-only file system"]
    assert folder.found() == folder.expected(EVERYTHING)
    assert "old.seg" in folder.files()
    assert folder.sizes()[0] == (12, 0)


def test_all_that_a_start_has_put_into_the_head_is_sealed_in_parts_of_the_usual_size(folder):
    """And not in one, which would be larger than parts may be and may not earn what they would."""
    folder.again(lambda disk: disk.remove(Path(INDEX) / "MANIFEST"))
    assert folder.sizes() == [(14, 0)]
    folder.delete(2)
    folder.indexing.settle()
    assert sorted(folder.sizes()) == [(2, 0), (11, 0)]
    assert folder.found() == folder.expected(set(EVERYTHING) - {2})
    folder.again(lambda disk: disk.remove(Path(INDEX) / "MANIFEST"))
    folder.put(*range(30, 45))
    task = folder.indexing.next()
    folder.store.adopt(folder.indexing.build(task))
    assert folder.sizes() == [(4, 0), (24, 0)]


def test_merged_segments_go_once_the_manifest_names_them_no_more(folder):
    assert len(folder.files()) == 2
    folder.put(*range(30, 34))
    folder.indexing.settle()
    assert len(folder.files()) == 3


# -- while others go on --------------------------------------------------------------------------------------------------


def test_what_dies_and_comes_while_a_segment_is_built_is_dead_and_there(folder):
    folder.put(22, 23)
    made = folder.indexing.build(folder.indexing.next())
    folder.delete(20, 5)
    folder.put(24)
    folder.store.adopt(made)
    assert folder.sizes() == [(12, 1), (4, 1), (1, 0)]
    alive = sorted({*EVERYTHING, 22, 23, 24} - {5, 20})
    assert folder.found() == folder.expected(alive)
    folder.indexing.settle()
    folder.again()
    assert folder.found() == folder.expected(alive)


def test_a_search_goes_on_in_the_view_that_it_began_with(folder):
    before = folder.store.published
    folder.put(22, 23)
    folder.delete(*range(12))
    folder.indexing.settle()
    assert folder.sizes() == [(4, 0), (0, 0)]
    view = before.indexes[PUBLIC_NAMESPACE]
    hits, *_ = view.search(vector(7).tobytes(), 100, exact=True)
    assert len(hits) == len(EVERYTHING)


def test_parts_of_which_nothing_lives_are_dropped_without_a_segment(folder):
    folder.delete(*EVERYTHING)
    folder.indexing.settle()
    assert folder.sizes() == [(2, 2)]  # the head is not full
    assert folder.files() == ["MANIFEST"]
    folder.again()
    assert folder.found() == []


def test_what_was_built_of_indexes_that_were_filled_anew_meanwhile_has_no_place(folder):
    folder.put(22, 23)
    made = folder.indexing.build(folder.indexing.next())
    folder.store.refold()
    folder.store.adopt(made)
    assert folder.sizes() == [(12, 0), (4, 0)]
    assert folder.found() == folder.expected([*EVERYTHING, 22, 23])
    folder.indexing.settle()
    assert folder.sizes() == [(12, 0), (4, 0), (0, 0)]


def test_nothing_is_written_where_nothing_has_changed(folder):
    folder.indexing.settle()
    calls = folder.disk.calls
    folder.indexing.settle()
    Indexing(folder.store, LIMITS).settle()
    assert folder.disk.calls == calls


def test_a_failed_store_adopts_nothing(folder):
    folder.put(22, 23)
    made = folder.indexing.build(folder.indexing.next())
    folder.store.fail(StorageFailed("the disk is gone"))
    position = folder.store.published
    folder.store.adopt(made)
    assert folder.store.published is position


def test_nothing_is_written_once_the_folder_is_released(folder):
    folder.put(22, 23)
    task = folder.indexing.next()
    folder.store.close(NOW)
    with pytest.raises(OSError, match="closed"):
        folder.indexing.build(task)


@pytest.mark.parametrize("call", ["create", "truncate", "write", "sync", "rename", "sync_folder", "remove"])
def test_a_disk_that_fails_a_segment_costs_no_row_and_is_tried_again(folder, call):
    folder.put(*range(30, 34))

    def hook(called, path, offset, size):
        if called == call and "/index" in path:
            raise OSError(5, "Input/output error")

    if call == "remove":
        folder.delete(*range(12))  # so that there is something to be removed
    alive = [number for number in (*EVERYTHING, *range(30, 34)) if call != "remove" or number > 12]
    folder.disk.hook = hook
    with pytest.raises(OSError, match="Input/output"):
        folder.indexing.settle()
    assert folder.found() == folder.expected(alive)
    folder.disk.hook = lambda *_: None
    folder.indexing.settle()
    assert folder.found() == folder.expected(alive)
    folder.again()
    assert folder.store.index_dropped == []
    assert folder.found() == folder.expected(alive)
    assert sum(rows for rows, _ in folder.sizes()[:-1]) >= 4


def other_space(folder: Folder):
    """Make a namespace in which a record was, so that it has an index; give what ends it."""
    store = folder.store
    [done] = store.commit([CreateOperation(store.key.public, "other", "m/1", 384)], NOW)
    ns = next(space.ns for space in store.published.namespaces.values() if space.position == done.position)
    digest, payload = record.encode_vector(record.stored_vector(vector(1)), b"{}", "m/1")
    store.commit([PutOperation(ns, digest, payload, store.key.public)], NOW)
    return [DeleteOperation(ns, digest, None), DropOperation(ns, store.key.public)]


def test_what_was_built_is_taken_though_another_namespace_ended_meanwhile():
    """Who made and ended a namespace every second kept every other one from ever being sealed."""
    folder = Folder()
    folder.open()
    end = other_space(folder)
    folder.put(0, 1, 2, 3)
    made = folder.indexing.build(folder.indexing.next())
    folder.store.commit(end, NOW)
    folder.store.adopt(made)
    assert folder.sizes() == [(4, 0), (0, 0)]


def test_what_was_built_of_a_namespace_that_ended_or_came_again_has_no_place():
    folder = Folder()
    folder.open()
    for again in (False, True):
        end = other_space(folder)
        ns = end[0].ns
        published = folder.store.published
        view = published.indexes[ns]
        task = Task(ns, view, (view.sizes[0][0],), published.generation)
        made = folder.indexing.build(task)
        folder.store.commit(end, NOW)
        if again:
            other_space(folder)
        folder.store.adopt(made)
        assert (ns in folder.store.published.indexes) == again
    assert [rows for _, rows, *_ in folder.store.published.indexes[ns].sizes] == [1]


def test_a_namespace_that_ended_is_found_no_more_whatever_went_wrong_on_the_way(monkeypatch):
    """All was read again, and published over what had been: the index of what was gone stayed, and was built upon."""
    folder = Folder()
    folder.open()
    end = other_space(folder)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(Spaces, "drop", lambda *_: (_ for _ in ()).throw(RuntimeError("no")))
        folder.store.commit(end, NOW)
    assert set(folder.store.published.namespaces) == set(folder.store.published.indexes) == {PUBLIC_NAMESPACE}
