"""The state tries of a store: whatever happened to it, their roots are those of what its log says, by a plain oracle."""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
from pathlib import Path

import msgspec
import pytest
from trie_reference import Trie

from engram import events, record
from engram.errors import Unavailable
from engram.events import verify_commitment
from engram.identity import NodeKey, namespace_id
from engram.runtime import RealRng
from engram.store import PUBLIC, CreateOperation, DeleteOperation, KeyOperation, PutOperation, Store
from engram.testing import LoseAll, SimDisk, SimTables

NOW = 1_700_000_000_000_000_000
DATA = Path("/data")
SNAPSHOT = DATA / "trie" / "tries"
OTHERS = [NodeKey(bytes([n]) * 32).public for n in (1, 2)]


class Machine:
    """A store on a simulated disk, that can be closed, crash, and lose files."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.tables = SimTables(self.disk, random.Random(1))
        self.now = NOW
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.disk, self.tables, DATA, RealRng(), self.now, "test", snapshot_leaves=1)

    def close(self) -> None:
        self.store.close(self.now)

    def reopen(self) -> None:
        self.close()
        self.open()

    def without(self, path: Path) -> None:
        self.close()
        if self.disk.exists(path):
            self.disk.remove(path)
        self.open()

    def do(self, *operations) -> None:
        self.now += 1_000_000
        self.store.commit(list(operations), self.now)

    def commit(self):
        self.now += 1_000_000
        return self.store.commitment(self.now)


@pytest.fixture
def machine():
    machine = Machine()
    yield machine
    machine.close()


@functools.cache
def payload(number: int) -> tuple[bytes, bytes]:
    return record.encode_vector(record.stored_vector([1.0 + number, *[0.0] * 383]), b"{}", "v1")


def put(number: int, signer: bytes, ns: bytes = PUBLIC.ns) -> PutOperation:
    return PutOperation(ns, *payload(number), signer)


def delete(number: int, signer: bytes | None, ns: bytes = PUBLIC.ns) -> DeleteOperation:
    return DeleteOperation(ns, payload(number)[0], signer)


def name(number: int | None, key: str, signer: bytes) -> KeyOperation:
    return KeyOperation(PUBLIC.ns, key, None if number is None else payload(number)[0], signer)


def of_the_log(store: Store, size: int) -> tuple[Trie, Trie]:
    """Fold the first `size` events, by formats §4 and §8 alone; no two operations here are of one time."""
    lives: dict[bytes, set[tuple[bytes, bytes]]] = {}
    payloads: dict[bytes, bytes] = {}
    heads: dict[bytes, bytes] = {}
    for position, data in store.log.read():
        fields = msgspec.msgpack.decode(data)
        if position >= size:
            break
        digest = bytes.fromhex(fields.get("cid", "")[4:])
        if fields["type"] == "record_stored.1":
            lives.setdefault(digest, set()).add((fields["ns"], fields["signer"]))
            payloads[digest] = fields["payload"]
        elif fields["type"] == "record_deleted.1":
            lives[digest].discard((fields["ns"], fields["signer"]))
        elif fields["type"] == "key_set.1":
            heads[fields["K"]] = digest
    records = {
        hashlib.sha256(digest.hex().encode()).digest(): payloads[digest] for digest, alive in lives.items() if alive
    }
    return Trie(records), Trie({k: digest for k, digest in heads.items() if digest})


def check(machine: Machine, commitment) -> None:
    """Hold a commitment against the log, its views against the oracle, its locations against the bodies."""
    store = machine.store
    committed = verify_commitment(commitment.note, commitment.event, commitment.path, store.key.public)
    records, heads = of_the_log(store, commitment.size - 1)
    assert (committed.state.records.root, committed.state.records.count) == (records.root(), len(records.held))
    assert (committed.state.heads.root, committed.state.heads.count) == (heads.root(), len(heads.held))
    assert (commitment.records.root, commitment.heads.root) == (records.root(), heads.root())
    for rank in range(len(commitment.records)):
        _, value, location = commitment.records.leaf(rank)
        assert hashlib.sha256(store._bodies.read(location)).digest() == value
    assert (committed.size, commitment.root) == (commitment.size, store.log.root_at(commitment.size))


def something(machine: Machine, rng: random.Random, ns: bytes) -> list:
    """Draw a group of operations; many of them are refused."""
    me = machine.store.key.public
    found = []
    for _ in range(rng.choice([1, 1, 2, 8])):
        number, signer, space = rng.randrange(12), rng.choice([me, *OTHERS]), rng.choice([PUBLIC.ns, ns])
        found.append(
            rng.choice(
                [
                    put(number, signer, space),
                    put(number, signer, space),
                    delete(number, signer, space),
                    delete(number, None, space),
                    DeleteOperation(space, payload(number)[0], signer, erase=True),
                    name(number, rng.choice("abc"), me),
                    name(None, rng.choice("abc"), me),
                ]
            )
        )
    return found


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_the_roots_are_those_of_the_log(seed):
    rng = random.Random(seed)
    machine = Machine()
    owner = machine.store.key.public
    ns = namespace_id(owner, "notes")
    machine.do(CreateOperation(owner, "notes", "v1", 384))
    for _ in range(40):
        machine.do(*something(machine, rng, ns))
        match rng.choices(range(8), [8, 6, 3, 2, 1, 1, 1, 1])[0]:
            case 1:
                check(machine, machine.commit())
            case 2:
                machine.reopen()
            case 3:
                machine.store.prepare_commitment()
            case 4:
                machine.without(SNAPSHOT)
            case 5:
                machine.without(DATA / "state.db")
            case 6:
                machine.store.refold()
            case 7:
                machine.store.checkpoint(machine.now)
                machine.store.keep_snapshot()
    check(machine, machine.commit())
    machine.close()


def fill(machine: Machine, count: int = 12) -> None:
    me = machine.store.key.public
    machine.do(*(put(number, me) for number in range(count)), name(1, "a", me))


def test_what_comes_while_the_tries_are_prepared_is_taken_in(machine):
    fill(machine)
    machine.store.prepare_commitment()
    machine.do(delete(3, machine.store.key.public), put(20, machine.store.key.public))
    check(machine, machine.commit())


def test_nothing_new_leaves_the_latest_commitment_as_it_is(machine):
    fill(machine)
    first = machine.commit()
    assert machine.commit() is first
    assert machine.store.commitment(machine.now, 3) is first
    assert machine.store.checkpoint(machine.now) is None


def test_an_older_state_is_spoken_for_already(machine):
    fill(machine)
    first = machine.commit()
    machine.do(put(20, machine.store.key.public))
    assert machine.store.commitment(machine.now, first.size - 1) is first
    later = machine.store.commitment(machine.now, first.size)
    assert later.size > first.size
    check(machine, later)


def test_the_checkpoint_of_the_last_process_stands_where_nothing_is_behind_it(machine):
    fill(machine)
    machine.reopen()
    size = machine.store.log.size
    assert machine.store.proofs.latest is None
    commitment = machine.commit()
    assert commitment.size == size == machine.store.log.size
    note = machine.disk.open(DATA / "checkpoints" / f"{size:020}", writable=False)
    assert note.read(0, note.size()) == commitment.note
    note.close()
    check(machine, commitment)


@pytest.mark.parametrize("writes", [0, 1])
def test_what_was_prepared_stands_if_nothing_came_meanwhile(machine, writes):
    fill(machine)
    machine.reopen()
    size = machine.store.log.size
    machine.store.prepare_commitment()
    if writes:
        machine.do(put(20, machine.store.key.public))
    commitment = machine.commit()
    assert commitment.size == size + 2 * writes
    check(machine, commitment)


def test_an_empty_store_commits_to_that_it_is_empty(machine):
    commitment = machine.commit()
    assert len(commitment.records) == 0
    check(machine, commitment)


def test_a_snapshot_is_loaded_and_what_came_since_is_added(machine, monkeypatch):
    fill(machine)
    machine.reopen()
    machine.do(delete(2, machine.store.key.public))
    monkeypatch.setattr("engram.store._committer.of_tables", None)  # it would raise
    check(machine, machine.commit())


def damaged(data: bytes, how: str) -> bytes:
    match how:
        case "a byte":
            return data[:200] + bytes([data[200] ^ 1]) + data[201:]
        case "cut":
            return data[: len(data) // 2]
        case "empty":
            return b""
        case "longer":
            return data + b"\0"
        case "zeros":
            return bytes(len(data))
    raise AssertionError(how)


@pytest.mark.parametrize("how", ["a byte", "cut", "empty", "longer", "zeros"])
def test_a_damaged_snapshot_is_passed_over(machine, how):
    fill(machine)
    machine.close()
    file = machine.disk.open(SNAPSHOT)
    data = damaged(file.read(0, file.size()), how)
    file.truncate(0)
    file.write(0, data)
    file.close()
    machine.open()
    machine.do(delete(2, machine.store.key.public))
    check(machine, machine.commit())


def test_the_snapshot_of_another_log_is_passed_over(machine):
    """A checksum holds of whatever was written; whose it is says the log's root at its position."""
    other = Machine()
    fill(other, 9)
    other.close()
    fill(machine)
    machine.close()
    image = other.disk.open(SNAPSHOT, writable=False)
    file = machine.disk.open(SNAPSHOT)
    file.truncate(0)
    file.write(0, image.read(0, image.size()))
    file.close()
    image.close()
    machine.open()
    check(machine, machine.commit())


def test_a_snapshot_ahead_of_a_log_that_was_rolled_back_is_passed_over(tmp_path):
    from engram.runtime import RealDisk, RealTables

    def opened(path: Path) -> Store:
        return Store.open(RealDisk(), RealTables(), path, RealRng(), NOW, "test", snapshot_leaves=1)

    store = opened(tmp_path / "now")
    me = store.key.public
    store.commit([put(1, me)], NOW)
    store.close(NOW)
    shutil.copytree(tmp_path / "now", tmp_path / "before")
    store = opened(tmp_path / "now")
    store.commit([put(2, me), put(3, me)], NOW)
    store.close(NOW)
    shutil.copy(tmp_path / "now/trie/tries", tmp_path / "before/trie/tries")
    store = opened(tmp_path / "before")
    assert len(store.commitment(NOW).records) == 1
    store.commit([put(number, me) for number in range(5, 15)], NOW)
    commitment = store.commitment(NOW)
    assert commitment.records.root == of_the_log(store, commitment.size)[0].root()
    store.close(NOW)


def test_a_snapshot_of_wrong_tables_does_not_outlive_them(machine):
    fill(machine)
    machine.reopen()
    machine.store._writer.execute("UPDATE records SET lives = 0 WHERE digest = ?", (payload(1)[0],))
    machine.do(put(30, machine.store.key.public))
    machine.store.checkpoint(machine.now)
    machine.store.keep_snapshot()
    machine.store.distrust_tables()
    with pytest.raises(Unavailable):
        machine.store.commitment(machine.now)
    machine.store.refold()
    check(machine, machine.commit())
    machine.reopen()
    machine.do(put(31, machine.store.key.public))
    check(machine, machine.commit())


def test_what_wrong_tables_committed_to_is_neither_kept_nor_shown_after_them(machine):
    fill(machine)
    machine.reopen()
    machine.store._writer.execute("UPDATE records SET lives = 0 WHERE digest = ?", (payload(1)[0],))
    machine.do(put(30, machine.store.key.public))
    machine.store.checkpoint(machine.now)
    machine.store.distrust_tables()
    machine.store.refold()
    assert machine.store.proofs.latest is None
    machine.reopen()  # with nothing written in between
    check(machine, machine.commit())


def test_a_snapshot_of_wrong_tables_does_not_outlive_a_fold_at_opening_either(machine):
    fill(machine)
    machine.store._writer.execute("UPDATE records SET lives = 0 WHERE digest = ?", (payload(1)[0],))
    machine.do(put(30, machine.store.key.public))
    machine.without(DATA / "state.db")
    assert machine.store.refolded
    machine.do(put(31, machine.store.key.public))
    check(machine, machine.commit())


def test_a_crash_leaves_nothing_of_a_snapshot_that_counts(machine):
    fill(machine)
    machine.store.commitment(machine.now)
    machine.store.keep_snapshot()
    machine.do(delete(1, machine.store.key.public))
    machine.disk = machine.disk.crash(LoseAll())
    machine.tables = machine.tables.after(machine.disk)
    machine.open()
    check(machine, machine.commit())


def test_few_leaves_are_worth_no_snapshot(tmp_path):
    disk = SimDisk()
    store = Store.open(disk, SimTables(disk, random.Random(1)), DATA, RealRng(), NOW, "test")
    store.commit([put(1, store.key.public)], NOW)
    store.close(NOW)
    assert not disk.exists(SNAPSHOT)


def test_a_snapshot_is_not_written_anew_for_a_little(machine):
    fill(machine, 400)
    machine.reopen()
    machine.do(put(500, machine.store.key.public))
    file = machine.disk.open(SNAPSHOT, writable=False)
    before = file.read(0, file.size())
    file.close()
    machine.reopen()
    file = machine.disk.open(SNAPSHOT, writable=False)
    assert file.read(0, file.size()) == before
    file.close()


def test_opening_reads_no_snapshot_and_makes_no_trie(machine):
    fill(machine)
    machine.reopen()
    assert not machine.store._committer.is_ready
    assert machine.store.proofs.latest is None


def test_no_checkpoint_is_named_before_its_event_is_folded(machine):
    """What was named as of size n is over the events before n - 1."""
    fill(machine)
    first = machine.commit()
    machine.do(delete(1, machine.store.key.public))
    second = machine.commit()
    assert events.decode(first.event).records.count == events.decode(second.event).records.count + 1
    check(machine, second)
