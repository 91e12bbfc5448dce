"""Who may do what, at the Service, which is where every door's calls come in."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing

from engram.errors import Conflict, Forbidden, ModelNotReady, NotFound, Unauthenticated
from engram.identity import ANONYMOUS, OPERATOR, Caller, ss58
from engram.node import Config, real_world, running
from engram.wire import (
    Actors,
    Delete,
    Embed,
    Events,
    Get,
    History,
    Item,
    KeyDelete,
    KeyGet,
    KeyList,
    KeySet,
    List,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceList,
    Ping,
    Put,
    PutMany,
    Query,
    Status,
)

ADA, BOB = Caller(b"a" * 32), Caller(b"b" * 32)


def vector(*head: float, dim: int = 384) -> bytes:
    return struct.pack(f"<{dim}f", *head, *[0.0] * (dim - len(head)))


@pytest.fixture
async def service(tmp_path, model_files):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        yield service


@pytest.mark.parametrize(
    "request_",
    [
        Put(vector=vector(1.0)),
        PutMany(items=[Item(vector=vector(1.0))]),
        Delete(cid="v1::" + "0" * 64),
        KeySet(key="k", cid="v1::" + "0" * 64),
        KeyDelete(key="k"),
        NamespaceCreate(name="notes"),
        Embed(texts=["a text"]),
    ],
    ids=lambda request: request.method,
)
async def test_who_has_proved_nothing_writes_nothing(service, request_):
    with pytest.raises(Unauthenticated):
        await service.call(request_, ANONYMOUS)


async def test_who_has_proved_nothing_reads_what_is_public(service):
    done = await service.call(Put(vector=vector(1.0), key="doc"))
    assert (await service.call(Get(cid=done.cid), ANONYMOUS)).cid == done.cid
    assert [hit.cid for hit in (await service.call(Query(vector=vector(1.0)), ANONYMOUS)).hits] == [done.cid]
    assert service.answer_now(Query(vector=vector(1.0)), ANONYMOUS).hits[0].cid == done.cid
    assert len((await service.call(List(), ANONYMOUS)).records) == 1
    assert (await service.call(KeyGet(key="doc"), ANONYMOUS)).record.cid == done.cid
    assert [space.name for space in (await service.call(NamespaceList(), ANONYMOUS)).namespaces] == ["public"]
    await service.call(Ping(), ANONYMOUS)


async def test_what_is_the_operators_is_nobody_elses(service):
    with pytest.raises(Forbidden):
        await service.call(Actors(), ADA)
    assert (await service.call(Status(), ADA)).data_dir == ""
    assert (await service.call(Status(), OPERATOR)).data_dir
    for request in (Put(vector=vector(1.0), key="k"), KeyDelete(key="k")):
        with pytest.raises(Forbidden) as caught:
            await service.call(request, ADA)
        assert caught.value.field == "key"


async def test_a_namespace_of_somebody_elses_answers_as_one_that_is_not_there(service):
    create = NamespaceCreate(name="notes", dim=8, model_version="m/1")
    mine = await service.call(create, ADA)
    assert mine.owner == ss58(ADA.key)
    done = await service.call(Put(vector=vector(1.0, dim=8), key="doc", namespace="notes"), ADA)
    reads = [
        Get(cid=done.cid, namespace="notes"),
        Query(vector=vector(1.0, dim=8), namespace="notes"),
        List(namespace="notes"),
        KeyGet(key="doc", namespace="notes"),
        KeyList(namespace="notes"),
        History(key="doc", namespace="notes"),
        Events(namespace="notes"),
        Delete(cid=done.cid, namespace="notes"),
        NamespaceDelete(name="notes"),
    ]
    for request in reads:
        words = set()
        for stranger in (BOB, ANONYMOUS, OPERATOR):
            with pytest.raises(NotFound) as caught:
                await service.call(request, stranger)
            words.add(caught.value.message)
        assert len(words) == 1, request
    with pytest.raises(NotFound):
        await service.call(Get(cid=done.cid), BOB)
    assert (await service.call(create, BOB)).id != mine.id
    assert (await service.call(NamespaceList(), BOB)).namespaces[-1].records == 0
    assert (await service.call(NamespaceList(), ADA)).namespaces[-1].records == 1


async def test_of_anothers_namespaces_the_status_does_not_even_tell_how_many(service):
    await service.call(NamespaceCreate(name="notes", dim=8, model_version="m/1"), ADA)
    counts = [(await service.call(Status(), caller)).namespaces for caller in (ADA, BOB, ANONYMOUS, OPERATOR)]
    assert counts == [2, 1, 1, 2]


async def test_the_operator_waits_for_one_strangers_walk_at_most(service):
    items = [Item(vector=vector(1.0, number), metadata={"n": number}) for number in range(1000)]
    await service.call(PutMany(items=items))
    done = []

    async def walk():
        await service.call(List(filter="n < 0"), ANONYMOUS)
        done.append("walk")

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(walk)
        await trio.testing.wait_all_tasks_blocked()
        await service.call(List(limit=1))
        assert len(done) < 5
    assert len(done) == 20


async def test_where_a_model_that_failed_has_its_files_is_told_to_the_operator_alone(tmp_path):
    (tmp_path / "model").mkdir()
    config = Config(data_dir=tmp_path / "data", model_dir=tmp_path / "model")
    async with running(config, real_world(), embedded=True) as service:
        for caller in (OPERATOR, ADA, ANONYMOUS):
            with pytest.raises(ModelNotReady) as refused:
                await service.call(Query(text="a cat"), caller)
            status = await service.call(Status(), caller)
            told = f"{refused.value.message} {status.model.message}"
            assert (str(tmp_path) in told) == caller.operator
            assert (status.model.state, refused.value.field) == ("failed", "text")


async def test_the_operator_ends_what_more_have_put_than_one_frame_has_room_for(service, monkeypatch):
    monkeypatch.setattr("engram.store._group.FRAME_EVENTS", 4)
    for number in range(10):
        done = await service.call(Put(vector=vector(1.0)), Caller(bytes([number]) * 32))
    assert (await service.call(Delete(cid=done.cid), OPERATOR)).position == done.position + 10
    with pytest.raises(NotFound):
        await service.call(Get(cid=done.cid))


async def test_names_of_namespaces_that_are_gone_take_no_memory(service):
    for number in range(300):
        await service.call(NamespaceCreate(name=f"n{number}", dim=8, model_version="m/1"), ADA)
        await service.call(NamespaceDelete(name=f"n{number}"), ADA)
    assert len(service.reads._ids) < 150


async def test_in_the_public_namespace_each_ends_its_own_membership(service):
    for caller in (ADA, BOB, OPERATOR):
        done = await service.call(Put(vector=vector(1.0)), caller)
        assert done.created
    await service.call(Delete(cid=done.cid), ADA)
    with pytest.raises(Forbidden) as caught:
        await service.call(Delete(cid=done.cid), ADA)
    assert caught.value.field == "cid"
    assert (await service.call(Get(cid=done.cid), ADA)).cid == done.cid
    await service.call(Delete(cid=done.cid), OPERATOR)
    with pytest.raises(NotFound):
        await service.call(Delete(cid=done.cid), BOB)


async def test_events_tell_each_what_it_may_know(service):
    await service.call(NamespaceCreate(name="notes", dim=8, model_version="m/1"), ADA)
    await service.call(Put(vector=vector(1.0, dim=8), key="secret name", namespace="notes"), ADA)
    await service.call(Put(vector=vector(1.0), key="doc"), OPERATOR)
    everything = (await service.call(Events(), OPERATOR)).events
    assert [event.type for event in everything] == [
        "log_created.1",
        "namespace_created.1",
        "record_stored.1",
        "key_set.1",
        "record_stored.1",
        "key_set.1",
    ]
    assert [(event.namespace, event.key) for event in everything if event.type == "key_set.1"] == [
        (None, None),
        ("public", "doc"),
    ]
    adas = (await service.call(Events(), ADA)).events
    assert [event.key for event in adas if event.type == "key_set.1"] == ["secret name", "doc"]
    bobs = await service.call(Events(), BOB)
    assert [event.key for event in bobs.events if event.type == "key_set.1"] == ["doc"]
    assert "notes" not in {event.namespace for event in bobs.events}
    assert bobs.next == bobs.position == 6, "what it may not know of is passed over"
    await service.call(NamespaceDelete(name="notes"), ADA)
    assert "notes" not in str((await service.call(Events(limit=1000), BOB)).events)
    assert {event.type for event in (await service.call(Events(), ADA)).events} >= {"namespace_deleted.1"}


async def test_a_put_of_anothers_text_is_a_membership_of_ones_own(service):
    first = await service.call(Put(text="a cat sat on the mat"), ADA)
    second = await service.call(Put(text="a cat sat on the mat"), BOB)
    again = await service.call(Put(text="a cat sat on the mat"), BOB)
    assert first.cid == second.cid == again.cid
    assert (second.created, again.created) == (True, False)
    assert (await service.call(Status())).records == 1


async def test_a_key_with_an_expectation_is_one_callers_of_many(service):
    """Of many who claim a key at once, one gets it, and the others are told who."""
    import trio

    outcomes = []

    async def claim(number: int) -> None:
        try:
            outcomes.append(await service.call(Put(vector=vector(1.0 + number), key="lock", expect=None)))
        except Conflict as error:
            outcomes.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(claim, number)
    [won] = [outcome for outcome in outcomes if not isinstance(outcome, Conflict)]
    assert {error.current for error in outcomes if isinstance(error, Conflict)} == {won.cid}
    assert (await service.call(Status())).records == 1
