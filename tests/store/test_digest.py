"""The digest of the tables' rows: kept in step, the same for every fold, and wrong as soon as a row is."""

from __future__ import annotations

import hashlib
import sqlite3
import struct

import pytest
from disks import FullDisk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.test_store import NOW, open_store, put, vector

from engram import record
from engram.errors import DiskFull
from engram.events import Log
from engram.identity import namespace_id
from engram.runtime import RealDisk
from engram.store import PUBLIC, CreateOperation, DeleteOperation, PutOperation, Store
from engram.store._digest import EMPTY, RowDigest, digest_of

COLUMNS = {
    "bodies": "id kind location",
    "namespaces": "ns owner name model_version dim position",
    "records": "digest payload content metadata model_version indexed parent lives",
    "memberships": "position ns digest signer alive issued location indexed chunk",
    "tallies": "ns records chunks",
}


def msgpack(value) -> bytes:
    """The part of MessagePack that rows need, written down from its specification."""
    match value:
        case None:
            return b"\xc0"
        case int() if 0 <= value < 128:
            return bytes([value])
        case int() if value >= 0:
            code, size = next((c, n) for c, n in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)) if value < 256**n)
            return bytes([code]) + value.to_bytes(size)
        case int():
            return struct.pack("b", value) if value >= -32 else b"\xd0" + struct.pack("b", value)
        case bytes():
            return b"\xc4" + bytes([len(value)]) + value
    data = value.encode()
    return (bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xd9" + bytes([len(data)])) + data


def expected(connection: sqlite3.Connection) -> bytes:
    """The digest by its definition, a row at a time."""
    total = 0
    for table, columns in COLUMNS.items():
        for row in connection.execute(f"SELECT {columns.replace(' ', ', ')} FROM {table}"):
            values = [table, *row]
            if table == "namespaces":
                values[3] = hashlib.sha256(values[3].encode()).digest()
            encoded = bytes([0x90 | len(values)]) + b"".join(map(msgpack, values))
            total += int.from_bytes(hashlib.sha256(encoded).digest())
    return (total % 2**256).to_bytes(32)


SIGNERS = [bytes([n]) * 32 for n in range(1, 4)]


def operation(store: Store, what: tuple[str, int, int, int]):
    kind, which, space, signer = what
    if kind == "create":
        return CreateOperation(store.key.public, f"ns{which}", "m/1", 4)
    ns = PUBLIC.ns if space == 0 else namespace_id(store.key.public, f"ns{space}")
    version, dim = (PUBLIC.model_version, 384) if space == 0 else ("m/1", 4)
    payload = record.encode_text(f"text {which}", vector(1.0, which, dim=dim), b"{}", version)
    if kind == "put":
        return PutOperation(ns, *payload, SIGNERS[signer])
    return DeleteOperation(ns, payload[0], SIGNERS[signer])


WHAT = st.tuples(st.sampled_from(["put", "put", "delete"]), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WHAT, max_size=6), max_size=6))
def test_the_digest_follows_every_group_and_is_that_of_a_fresh_fold(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("digest")
    store = open_store(path / "data")
    store.commit([operation(store, ("create", n, 0, 0)) for n in (1, 2)], NOW)
    for number, group in enumerate(groups):
        store.commit([operation(store, what) for what in group], NOW + number * 10**6)
        assert store.state_digest == expected(store._writer)
    digest = store.state_digest
    assert store.verify_state()
    store.close(NOW)
    again = open_store(path / "data")
    assert (again.refolded, again.state_digest) == (False, digest)
    again.commit([operation(again, ("put", 9, 0, 0))], NOW)
    digest = again.state_digest
    assert digest == expected(again._writer)
    again.close(NOW)
    forget_tables(path / "data")
    refolded = open_store(path / "data")
    assert (refolded.refolded, refolded.state_digest) == (True, digest)
    refolded.commit([operation(refolded, ("delete", 9, 0, 0))], NOW)
    assert refolded.state_digest == expected(refolded._writer) != digest
    refolded.close(NOW)


def forget_tables(folder) -> None:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"state.db{suffix}").unlink(missing_ok=True)


def test_a_group_that_is_rolled_back_leaves_no_trace_in_the_digest(tmp_path, monkeypatch):
    """The disk is as it was: nothing reached the log, so what comes next is folded as if it had not been there."""
    store = open_store(tmp_path / "data")
    monkeypatch.setattr(store._bodies, "flush", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.commit([put(store, "east", 1.0)], NOW)
    monkeypatch.undo()
    north, east = put(store, "north", 0.0, 1.0), put(store, "east", 1.0)
    store.commit([north, east], NOW)
    assert store.state_digest == expected(store._writer)
    assert (store.count(), store.count(PUBLIC.ns)) == (2, 2)
    assert store.get(PUBLIC.ns, east.digest).text == "east"
    assert store.verify_state()
    store.close(NOW)


def test_a_full_disk_leaves_the_digest_and_what_comes_after_it_counts(tmp_path):
    disk = FullDisk()
    store = open_store(tmp_path / "data", disk)
    before = store.state_digest
    disk.full = True
    [refused] = store.commit([put(store, "east", 1.0)], NOW)
    assert isinstance(refused, DiskFull)
    assert store.state_digest == before == expected(store._writer)
    disk.full = False
    store.commit([put(store, "east", 1.0)], NOW)
    assert store.state_digest == expected(store._writer)
    assert store.verify_state()
    store.close(NOW)


def test_bodies_whose_events_found_no_room_are_published_with_the_digest(tmp_path, monkeypatch):
    """The tables know them; what readers were shown was the digest from before."""
    store = open_store(tmp_path / "data")

    def full(*_):
        raise DiskFull("no room")

    monkeypatch.setattr(store._log, "append", full)
    [refused] = store.commit([put(store, "east", 1.0)], NOW)
    assert isinstance(refused, DiskFull)
    monkeypatch.undo()
    assert store.state_digest == expected(store._writer)
    assert store.published.body_tail == store._bodies.tail > 0
    store.commit([put(store, "east", 1.0)], NOW)
    assert store.state_digest == expected(store._writer)
    store.close(NOW)


TOY = [
    "INSERT INTO toy VALUES (1, 'a')",
    "INSERT OR REPLACE INTO toy VALUES (1, 'b')",
    "INSERT OR IGNORE INTO toy VALUES (1, 'c')",
    "INSERT INTO toy VALUES (1, 'd') ON CONFLICT DO UPDATE SET text = text || 'e'",
    "UPDATE toy SET key = 2",
    "UPDATE toy SET key = 2",
    "INSERT INTO toy SELECT key + 1, text FROM toy",
    "DELETE FROM toy WHERE key = 3",
    "DELETE FROM toy",
]


def test_every_way_to_change_a_row_is_followed():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE toy (key INTEGER PRIMARY KEY, text TEXT)")
    digest = RowDigest(connection, ["toy"], EMPTY)
    seen = set()
    for statement in TOY:
        connection.execute(statement)
        assert digest.settle() == digest_of(connection, ["toy"]), statement
        seen.add(digest.value)
    assert digest.value == EMPTY
    assert len(seen) == 6
    connection.close()


WRONG = {
    "a bit of a hash": "UPDATE records SET payload = zeroblob(32)",
    "another place": "UPDATE bodies SET location = location + 64 WHERE kind = 0",
    "a life more": "UPDATE records SET lives = lives + 1",
    "a row less": "DELETE FROM memberships WHERE position = 2",
    "a row more": "INSERT INTO tallies VALUES (x'00', 0, 0)",
    "a renamed namespace": "UPDATE namespaces SET name = 'nodes'",
    "another digest": "UPDATE projection SET digest = zeroblob(32)",
}


@pytest.mark.parametrize("statement", WRONG.values(), ids=WRONG)
def test_a_row_that_went_wrong_is_noticed(tmp_path, statement):
    store = open_store(tmp_path / "data")
    store.commit([operation(store, ("create", 1, 0, 0)), put(store, "east", 1.0)], NOW)
    assert store.verify_state()
    elsewhere = sqlite3.connect(tmp_path / "data" / "state.db", isolation_level=None)
    assert elsewhere.execute(statement).rowcount == 1
    elsewhere.close()
    assert not store.verify_state()
    store.close(NOW)


def edit(folder, statement: str, *values) -> None:
    connection = sqlite3.connect(folder / "state.db", isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def test_tables_of_another_fold_version_are_folded_again(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    digest = store.state_digest
    store.close(NOW)
    edit(tmp_path / "data", "UPDATE projection SET fold_version = fold_version - 1")
    edit(tmp_path / "data", "DELETE FROM memberships")
    again = open_store(tmp_path / "data")
    assert (again.refolded, again.state_digest, again.count(PUBLIC.ns)) == (True, digest, 1)
    assert again.verify_state()
    again.close(NOW)


def test_the_tables_of_the_first_builds_are_folded_again(tmp_path):
    """Their projection has other columns."""
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    store.close(NOW)
    edit(tmp_path / "data", "DROP TABLE projection")
    edit(
        tmp_path / "data",
        "CREATE TABLE projection (one INTEGER PRIMARY KEY CHECK (one = 1), fold_version INTEGER NOT NULL, "
        "position INTEGER NOT NULL, root BLOB NOT NULL, body_tail INTEGER NOT NULL, log_start BLOB NOT NULL)",
    )
    edit(tmp_path / "data", "INSERT INTO projection VALUES (1, 2, 3, x'00', 0, x'00')")
    again = open_store(tmp_path / "data")
    assert (again.refolded, again.count()) == (True, 1)
    again.close(NOW)


def append(folder, event: bytes) -> None:
    """Append an event as another build would, behind the tables' back."""
    log = Log.open(RealDisk(), folder / "events")
    log.append([event], NOW)
    log.close()


def test_an_event_of_an_unknown_type_is_skipped_and_told(tmp_path):
    store = open_store(tmp_path / "data")
    store.commit([put(store, "east", 1.0)], NOW)
    digest = store.state_digest
    store.close(NOW)
    append(tmp_path / "data", b"\x81\xa4type\xacfrom_later.7")
    for _ in range(2):
        again = open_store(tmp_path / "data")
        assert (again.refolded, again.state_digest, again.skipped) == (False, digest, {"from_later.7"})
        again.close(NOW)


def test_tables_that_skipped_what_this_build_knows_are_folded_again(tmp_path):
    """A build that did not know deletions folded this log: to it the record lives."""
    store = open_store(tmp_path / "data")
    operation = put(store, "east", 1.0)
    store.commit([operation], NOW)
    store.commit([DeleteOperation(PUBLIC.ns, operation.digest, store.key.public)], NOW)
    digest = store.state_digest
    store.close(NOW)
    edit(tmp_path / "data", "UPDATE memberships SET alive = 1")
    edit(tmp_path / "data", "UPDATE projection SET skipped = ?", b"\x92\xacfrom_later.7\xb0record_deleted.1")
    again = open_store(tmp_path / "data")
    assert (again.refolded, again.skipped, again.state_digest) == (True, frozenset(), digest)
    assert again.get(PUBLIC.ns, operation.digest) is None
    again.close(NOW)
