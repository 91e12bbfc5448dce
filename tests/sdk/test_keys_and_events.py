"""Keys, histories, events and namespaces of a real memory, over every wire, by every client."""

import threading
import time
from functools import partial

import pytest
from doors import WIRES

from engram.errors import BadRequest, Conflict, NotFound, Unavailable
from engram.sdk import ANY, Kept

pytestmark = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture
def client(real, connect):
    client = connect(real.url, timeout=20)
    client.namespaces.create("n", dim=2, model="m")
    return client


def put(client, n, **options):
    return client.put(vector=[1.0, float(n)], metadata={"n": n}, namespace="n", model_version="m", **options)


def test_a_key_names_one_memory_after_another(client):
    first = put(client, 1, key="doc/17", expect=None)
    assert isinstance(first, Kept)
    assert client.keys.get("doc/17", namespace="n").record.cid == first.cid
    second = put(client, 2, key="doc/17", expect=first.cid)
    third = put(client, 3, key="doc/17")
    assert client.keys.get("doc/17", "n", include_vector=True).record.vector is not None
    assert [version.cid for version in client.history("doc/17", "n")] == [first.cid, second.cid, third.cid]


@pytest.mark.parametrize("expect", [None, "v1::" + "0" * 64])
def test_a_key_that_is_otherwise_than_expected_is_a_conflict_that_says_how(client, expect):
    first = put(client, 1, key="k")
    position = client.status().position
    for call in (
        partial(put, client, 2, key="k", expect=expect),
        partial(client.keys.set, "k", first.cid, expect=expect, namespace="n"),
        partial(client.keys.delete, "k", expect=expect, namespace="n"),
    ):
        with pytest.raises(Conflict) as refused:
            call()
        assert refused.value.current == first.cid
    assert client.status().position == position
    assert put(client, 2, key="k", expect=ANY).created


def test_a_key_that_names_nothing_where_something_is_expected_says_so(client):
    with pytest.raises(Conflict) as refused:
        put(client, 1, key="k", expect="v1::" + "0" * 64)
    assert refused.value.current is None


def test_keys_are_listed_by_prefix_over_many_pages(client, monkeypatch):
    cid = put(client, 1).cid
    names = sorted([*(f"doc-{n}" for n in range(7)), "a/b?c=d&e", "..", "%2e", "späť ★"], key=str.encode)
    for name in names:
        client.keys.set(name, cid, namespace="n")
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"engram.sdk.{half}._names._PAGE", 3)
    assert [info.key for info in client.keys.list(namespace="n")] == names
    assert [info.key for info in client.keys.list("doc-", "n")] == [f"doc-{n}" for n in range(7)]
    for name in names:
        assert client.keys.get(name, "n").record.cid == cid
        client.keys.delete(name, namespace="n")
    assert list(client.keys.list(namespace="n")) == []


def test_a_history_comes_whole(client, monkeypatch):
    cids = [put(client, n, key="k").cid for n in range(5)]
    client.keys.delete("k", namespace="n")
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"engram.sdk.{half}._names._PAGE", 2)
    assert [version.cid for version in client.history("k", "n")] == [*cids, None]
    with pytest.raises(NotFound):
        client.history("never", "n")


def test_a_batch_sets_keys_and_says_of_each_what_became_of_it(client):
    vectors = [{"vector": [1, n], "key": f"k{n}", "expect": None} for n in (1, 2)]
    again = {"vector": [1, 9], "key": "k2", "expect": None}
    one, two, refused = client.ingest_many([*vectors, again], "n", "m")
    assert isinstance(refused, Conflict)
    assert refused.current == two
    assert client.keys.get("k1", "n").record.cid == one
    bad = client.ingest_many([{"vector": [1, 2], "key": 5}, {"vector": [1, 2], "key": "k", "expect": 5}], "n", "m")
    assert [(type(error), error.field) for error in bad] == [(BadRequest, "key"), (BadRequest, "expect")]


def test_a_line_of_a_file_may_set_a_key(client, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"vector": [1, 2], "key": "a", "expect": null}\n' * 2)
    one, two = (outcome for _, outcome in client.iter_ingest_file(path, "n", "m"))
    assert (one.cid, one.created) == (client.keys.get("a", "n").record.cid, True)
    assert isinstance(two, Conflict)
    assert (two.current, two.message[:8]) == (one.cid, "line 2: ")


def test_events_come_from_a_position_of_the_types_asked_for_to_the_logs_end(client):
    cids = [put(client, n).cid for n in range(3)]
    client.delete(cids[1], "n")
    whole = list(client.events(follow=False))
    assert [event.position for event in whole] == list(range(client.status().position))
    stored = client.events(types=["record_stored.1"], follow=False)
    assert next(stored).cid == cids[0]
    assert stored.position == next(event.position for event in whole if event.cid == cids[0]) + 1
    assert [event.cid for event in stored] == cids[1:]
    since = next(event.position for event in whole if event.cid == cids[1])
    assert [event.type for event in client.events(since, namespace="n", follow=False)][-1] == "record_deleted.1"
    with pytest.raises(BadRequest):
        client.events(types="record_stored.1")


def test_a_follower_waits_and_survives_the_nodes_restart(client, real):
    seen, reached = [], threading.Event()
    stream = client.events(client.status().position, ["record_stored.1"])

    def follow():
        for event in stream:
            seen.append(event)
            if len(seen) == 3:
                return
            reached.set()

    follower = threading.Thread(target=follow)
    follower.start()
    first = put(client, 1).cid
    assert reached.wait(20)
    real.stop()
    time.sleep(0.2)
    real.start()
    others = [put(client, n).cid for n in (2, 3)]
    follower.join(20)
    assert [event.cid for event in seen] == [first, *others]
    assert stream.position == seen[-1].position + 1


def test_a_follower_of_a_closed_client_ends(client, connect, real):
    stream = connect(real.url, timeout=20)
    failures = []

    def follow():
        try:
            for _ in stream.events(client.status().position):
                pass
        except Unavailable as error:
            failures.append(error.message)

    follower = threading.Thread(target=follow)
    follower.start()
    while not waits(real, stream):
        time.sleep(0.01)
    stream.close()
    follower.join(30)
    assert failures == ["this client is closed; make a new one"]


def waits(real, stream):
    calls = getattr(stream, "_calls", None) or stream._client._calls
    return calls._pool._used if real.wire == "rpc" else calls._pool


def test_a_node_that_is_not_there_ends_a_follower_at_its_beginning(client, real):
    real.stop()
    with pytest.raises(Unavailable):
        next(client.events())


def test_a_namespace_goes_with_all_that_is_in_it(client):
    put(client, 1, key="k")
    put(client, 2)
    assert client.namespaces.delete("n").records == 2
    assert [info.name for info in client.namespaces.list()] == ["public"]
    with pytest.raises(NotFound):
        client.keys.get("k", "n")
    with pytest.raises(NotFound):
        client.namespaces.delete("n")
