"""The fold looks rows up and writes them many at a time: what comes of it is what one at a time would give."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.test_digest import COLUMNS, SIGNERS, WHAT, append, expected, operation
from store.test_store import NOW, open_store, put

from engram import cid, events
from engram.store import PUBLIC, Done
from engram.store._digest import EMPTY, RowDigest, digest_of
from engram.store._rows import insert_rows, select_among


def rows(store) -> dict[str, list]:
    return {table: sorted(store._writer.execute(f"SELECT * FROM {table}"), key=repr) for table in COLUMNS}


def without_frame(outcome):
    """What it did, whatever other operations were in its frame."""
    return msgspec.structs.replace(outcome, frame=None) if isinstance(outcome, Done) else repr(outcome)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WHAT, max_size=24), st.lists(st.integers(1, 24), min_size=1))
def test_how_operations_are_grouped_changes_no_row_and_no_outcome(tmp_path_factory, whats, sizes):
    path = tmp_path_factory.mktemp("fold")
    grouped, alone = open_store(path / "grouped"), open_store(path / "alone")
    for store in (grouped, alone):  # one key: the same namespaces and the same events
        store.key = grouped.key
        store.commit([operation(store, ("create", n, 0, 0)) for n in (1, 2)], NOW)
    wanted = [operation(grouped, what) for what in whats]
    outcomes, left, sizes = [], list(wanted), sizes * len(wanted)
    while left:
        size = sizes.pop()
        outcomes += grouped.commit(left[:size], NOW)
        left = left[size:]
    for each, outcome in zip(wanted, outcomes, strict=True):
        assert without_frame(alone.commit([each], NOW)[0]) == without_frame(outcome)
    found = rows(grouped)
    assert found == rows(alone) | {"bodies": found["bodies"]}
    assert sorted(body[0] for body in found["bodies"]) == sorted(body[0] for body in rows(alone)["bodies"])
    assert grouped.state_digest == expected(grouped._writer)
    for store in (grouped, alone):
        store.close(NOW)


def test_a_deletion_that_came_before_any_put_is_known_to_the_put_behind_it(tmp_path):
    """Both are looked up at once; the second must find what the first has just written."""
    store = open_store(tmp_path / "data")
    east = put(store, "east", 1.0)
    store.commit([east], NOW)
    log = [events.decode(data) for _, data in store.log.read()]
    store.close(NOW)
    stored = next(event for event in log if isinstance(event, events.RecordStored))
    names = {"ns": PUBLIC.ns, "cid": cid.from_digest(east.digest), "signer": SIGNERS[0]}
    late = stored.issued_unix_ms + 10
    append(tmp_path / "data", events.encode(events.RecordDeleted(**names, issued_unix_ms=late, erase=False)))
    for issued in (late - 1, late + 1):
        event = events.RecordStored(**names, payload=stored.payload, issued_unix_ms=issued)
        append(tmp_path / "data", events.encode(event))
    folded = open_store(tmp_path / "data")
    of_signer = folded._writer.execute(
        "SELECT alive, issued FROM memberships WHERE signer = ? AND digest = ?", (SIGNERS[0], east.digest)
    ).fetchall()
    assert of_signer == [(1, late + 1)]
    assert folded._writer.execute("SELECT lives FROM records").fetchall() == [(2,)]
    assert folded.verify_state()
    folded.close(NOW)


@pytest.fixture
def toy():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE toy (key BLOB PRIMARY KEY, text TEXT)")
    yield connection
    connection.close()


def test_rows_inserted_at_once_are_in_the_digest_once(toy):
    digest = RowDigest(toy, ["toy"], EMPTY)
    digest.insert({"toy": [(bytes([n]), f"row {n}") for n in range(150)]})
    assert digest.settle() == digest_of(toy, ["toy"]) != EMPTY
    toy.execute("INSERT INTO toy VALUES (x'ff', 'told by a trigger')")
    assert digest.settle() == digest_of(toy, ["toy"])


def test_triggers_tell_again_after_an_insertion_that_failed(toy):
    digest = RowDigest(toy, ["toy"], EMPTY)
    with pytest.raises(sqlite3.IntegrityError):
        digest.insert({"toy": [(b"a", "one"), (b"a", "two")]})
    digest.forget()
    toy.execute("INSERT INTO toy VALUES (x'ff', 'told by a trigger')")
    assert digest.settle() == digest_of(toy, ["toy"])


@given(st.integers(0, 200), st.sets(st.integers(0, 255)))
def test_any_number_of_rows_is_inserted_and_found_by_its_keys(count, wanted):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE toy (key BLOB PRIMARY KEY, text TEXT)")
    insert_rows(connection, "toy", [(bytes([n]), str(n)) for n in range(count)])
    query = "SELECT key, text FROM toy WHERE text != ? AND key IN"
    found = select_among(connection, query, [bytes([n]) for n in wanted], ("7",))
    assert sorted(found) == [(bytes([n]), str(n)) for n in sorted(wanted) if n < count and n != 7]
    connection.close()
