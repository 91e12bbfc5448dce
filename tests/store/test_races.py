"""What readers see while the writer mends, erases, answers and closes: each race in the order that once went wrong."""

from __future__ import annotations

import threading

import pytest
from store.test_mending import found, rotten
from store.test_scrub import NOW, fill, located, one_pass, open_small
from store.test_store import put, vector

from engram import events
from engram.errors import BodiesCorrupt, NotFound, Unavailable
from engram.identity import namespace_id
from engram.node._stored_bodies import StoredBodies
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import PUBLIC, CreateOperation, DeleteOperation, DropOperation, Indexing, IndexLimits, Scrub, Store
from engram.store._damage import DamageMarks


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def store(folder):
    store = open_small(folder)
    yield store
    if not store._closed:
        store.close(NOW)


@pytest.fixture
def behind(monkeypatch):
    """Have something happen right behind the next call of a method, before its caller goes on."""

    def behind(owner, name, act):
        call = getattr(owner, name)

        def and_then(*arguments, **options):
            result = call(*arguments, **options)
            monkeypatch.setattr(owner, name, call)
            act()
            return result

        monkeypatch.setattr(owner, name, and_then)

    return behind


# -- damage and its mending --------------------------------------------------------------------------------------------


def test_a_body_that_is_mended_behind_who_saw_it_rotten_is_given_from_then_on(folder, store, behind):
    hurt = fill(store)[7]
    location = rotten(folder, store, hurt)

    def mend():
        store.damage.meet([location])  # as another reader has told
        store.commit([hurt], NOW)

    behind(store._bodies, "proved", mend)
    with pytest.raises(BodiesCorrupt):
        store.get(hurt.ns, hurt.digest)
    assert not store.damage.ranges()
    assert store.get(hurt.ns, hurt.digest) is not None
    assert found(store, hurt)


def test_a_body_that_is_mended_while_the_scrub_looks_elsewhere_is_not_marked_again(folder, store, behind):
    puts = fill(store)
    scrub = Scrub(store)
    location = rotten(folder, store, puts[7])
    one_pass(scrub)
    assert store.damage.is_at(location)
    behind(scrub, "_look_at_log", lambda: store.commit([puts[7]], NOW))
    scrub.step(NOW)
    assert not store.damage.is_at(location)
    assert store.get(puts[7].ns, puts[7].digest) is not None
    scrub.step(NOW)
    assert not store.damage.overwritten
    assert scrub.place.findings == []


def test_a_body_that_rots_behind_the_scrub_and_is_met_stays_known_and_is_mended(folder, store):
    """At the end of a pass all that was met was forgotten, and a put of the same did not mend it."""
    hurt = fill(store)[7]
    scrub = Scrub(store)
    while scrub.place.part != "tables":
        scrub.step(NOW)
    location = rotten(folder, store, hurt)
    with pytest.raises(BodiesCorrupt):
        store.get(hurt.ns, hurt.digest)
    assert one_pass(scrub) == []
    assert store.damage.is_at(location)
    assert scrub.due_s(NOW) == 0
    store.commit([hurt], NOW)
    assert store.get(hurt.ns, hurt.digest) is not None
    one_pass(scrub)
    assert scrub.due_s(NOW) > 0


def test_marks_are_lost_neither_by_readers_nor_by_the_writer():
    erased = set()
    marks = DamageMarks(erased.__contains__)
    marks.find([(640, 1280)])
    before = marks.overwritings
    marks.meet([64, 128], before)
    assert marks.overwrite([(64, 65), (704, 768)])
    assert marks.ranges() == [(640, 704), (768, 1280), (128, 129)]
    marks.meet([64], before)  # seen before it was mended
    assert not marks.is_at(64)
    marks.meet([64], marks.overwritings)  # and since
    assert marks.is_at(64)
    marks.find([(640, 1280)])
    assert not marks.is_at(704)
    marks.look_again()
    marks.find([(640, 1280)])
    assert marks.is_at(704)
    erased.add(192)
    marks.meet([192])
    assert not marks.is_at(192)
    assert not marks.overwrite([])
    assert not marks.overwrite([(4096, 4160)])
    marks.meet([192 + 64])
    marks.forget_met(frozenset([64, 128]))
    assert marks.ranges() == [(640, 1280), (256, 257)]
    marks.forget_met(frozenset([256]))
    assert marks.ranges() == [(640, 1280)]


def test_a_mark_that_another_reader_makes_meanwhile_is_not_lost():
    others = [640]

    def is_erased(location):
        if others:
            marks.meet([others.pop()])
        return False

    marks = DamageMarks(is_erased)
    marks.meet([64])
    assert marks.met == {64, 640}


# -- erasing -----------------------------------------------------------------------------------------------------------


def test_a_prover_who_meets_an_erasure_half_done_has_its_event_all_the_same(store, behind):
    """The bytes go before the tables say so: who was challenged in between had neither payload nor excuse."""
    secret = put(store, "secret", 1.0)
    store.commit([secret], NOW)
    location, bodies, met, excuse = located(store, secret.digest), StoredBodies(store), threading.Event(), []

    def prove():
        assert bodies.payload(location) is None
        met.set()
        excuse.append(bodies.tombstone(location))

    prover = threading.Thread(target=prove)

    def erased():
        prover.start()
        met.wait()
        prover.join(0.2)  # one that does not wait for the tables has ended by then

    behind(store._bodies, "erase", erased)
    store.commit([DeleteOperation(PUBLIC.ns, secret.digest, store.key.public, erase=True)], NOW)
    prover.join()
    assert isinstance(events.decode(excuse[0]), events.RecordDeleted)


# -- receipts ----------------------------------------------------------------------------------------------------------


class ToldTables(RealTables):
    """Tables that tell when a transaction has been committed, before who committed it goes on."""

    def __init__(self):
        self.committed = lambda: None

    def connect(self, path, *, readonly=False):
        connection = super().connect(path, readonly=readonly)
        return connection if readonly else Told(connection, self)


class Told:
    def __init__(self, connection, tables):
        self._connection = connection
        self._tables = tables

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *values):
        result = self._connection.execute(sql, *values)
        if sql == "COMMIT":
            self._tables.committed()
        return result


def test_who_sees_a_write_finds_its_receipt(folder):
    """A second caller with the same text was told that it stands, and had no receipt."""
    tables = ToldTables()
    store = Store.open(RealDisk(), tables, folder, RealRng(), NOW, "test")
    east, seen = put(store, "east", 1.0), []

    def look():
        position = store.lives_since(PUBLIC.ns, east.digest)
        seen.append(store.frame_of(position).receipt(position))

    tables.committed = look
    [done] = store.commit([east], NOW)
    assert seen == [done.receipt]
    tables.committed = lambda: None
    store.close(NOW)


# -- commitments -------------------------------------------------------------------------------------------------------


def test_a_log_whose_last_segment_was_only_begun_is_committed_to(folder):
    """Who is killed in the middle of a rotation leaves it empty: every proof crashed until something was written."""
    store = open_small(folder)
    fill(store)
    store.close(NOW)
    size, writer = store.log.size, store.log._writer
    with writer.path.open("r+b") as file:
        file.truncate(writer.end)
    (folder / "events" / f"{size:020}.log").touch()
    store = open_small(folder)
    assert store.published.position == size
    store.prepare_commitment()
    assert store.commitment(NOW).size == size + 1
    store.close(NOW)


def test_a_snapshot_of_wrong_tables_does_not_come_behind_its_removal(folder):
    class Late(RealDisk):
        """A disk on which the tables turn out to be wrong while a snapshot is written."""

        late = None

        def rename(self, source, target):
            if target.name == "tries" and self.late is not None:
                late, self.late = self.late, None
                late()
            super().rename(source, target)

    disk = Late()
    store = Store.open(disk, RealTables(), folder, RealRng(), NOW, "test", snapshot_leaves=1)
    store.commit([put(store, "east", 1.0)], NOW)
    store.commitment(NOW)
    disk.late = store.refold
    store.keep_snapshot()
    assert not (folder / "trie" / "tries").exists()
    store.commitment(NOW)
    store.keep_snapshot()
    assert (folder / "trie" / "tries").exists()
    store.close(NOW)


# -- namespaces --------------------------------------------------------------------------------------------------------


def test_a_query_of_a_namespace_that_was_made_anew_is_told_that_its_own_has_gone(store):
    me = store.key.public
    ns = namespace_id(me, "notes")
    [made] = store.commit([CreateOperation(me, "notes", "m/1", 4)], NOW)
    assert store.search(ns, vector(1.0, dim=4), 3, None, born=made.position).found == []
    store.commit([DropOperation(ns, me)], NOW)
    with pytest.raises(NotFound, match="deleted meanwhile"):
        store.search(ns, vector(1.0, dim=4), 3, None, born=made.position)
    store.commit([CreateOperation(me, "notes", "m/1", 8)], NOW)
    with pytest.raises(NotFound, match="deleted meanwhile"):
        store.search(ns, vector(1.0, dim=4), 3, None, born=made.position)


# -- closing -----------------------------------------------------------------------------------------------------------


def test_who_reads_what_is_closed_is_told_so_and_not_that_nothing_is_there(store):
    """Embedded, `status` and `proof` met SQLite's error there, and a search found nothing."""
    secret = put(store, "secret", 1.0, metadata={"n": 1})
    store.commit([secret], NOW)
    store.close(NOW)
    for read in (
        lambda: store.get(PUBLIC.ns, secret.digest),
        lambda: store.browse(PUBLIC.ns, None, 0, 10),
        lambda: store.search(PUBLIC.ns, vector(1.0), 3, None),
        lambda: store.search(PUBLIC.ns, vector(1.0), 3, None, born=0),
        store.count,
    ):
        with pytest.raises(Unavailable, match="closed"):
            read()


def test_a_read_that_is_overtaken_by_the_closing_is_told_so(store, behind):
    secret = put(store, "secret", 1.0)
    store.commit([secret], NOW)
    behind(store._bodies, "_view", lambda: store.close(NOW))
    with pytest.raises(Unavailable, match="closed"):
        store.get(PUBLIC.ns, secret.digest)
    assert not store.damage.ranges()


def test_the_index_is_kept_though_its_folder_is_closed_while_it_is_written_down(folder):
    """Nothing is published any more then, and a MANIFEST of nothing had every segment removed."""
    store = open_small(folder)
    fill(store)
    indexing = Indexing(store, IndexLimits(seal_rows=20))
    indexing.settle()
    kept = sorted(path.name for path in (folder / "index").iterdir())
    assert len(kept) > 1
    closing = threading.Thread(target=store.close, args=(NOW,))
    with store._reading:  # somebody reads still, for whose end the closing waits
        closing.start()
        while store.published.indexes:
            pass
        with pytest.raises(OSError, match="closed"):
            indexing.record()
    closing.join()
    assert sorted(path.name for path in (folder / "index").iterdir()) == kept
