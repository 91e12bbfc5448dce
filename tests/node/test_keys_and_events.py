"""Keys, their history, events and the end of a namespace, as the Service answers for them."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing

from engram.errors import BadRequest, Conflict, EngramError, NotFound, Unavailable, Unprocessable
from engram.node import Config, real_world, running
from engram.wire import (
    Delete,
    Events,
    History,
    Item,
    KeyDelete,
    KeyGet,
    KeyList,
    KeySet,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceList,
    Put,
    PutMany,
    Query,
    Status,
)

UNKNOWN = "v1::" + "0" * 64


def vector(*head: float, dim: int = 384) -> bytes:
    return struct.pack(f"<{dim}f", *head, *[0.0] * (dim - len(head)))


@pytest.fixture
async def service(tmp_path, model_files):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        yield service


async def test_a_text_is_put_under_a_key_again_and_again(service):
    cids = [(await service.call(Put(text=text, key="doc-17"))).cid for text in ("one", "two", "three", "one")]
    assert (await service.call(KeyGet(key="doc-17"))).record.text == "one"
    history = await service.call(History(key="doc-17"))
    assert [version.cid for version in history.versions] == cids
    assert history.versions[-1].signer == (await service.call(Status())).node_key
    pages = [await service.call(History(key="doc-17", limit=3))]
    pages.append(await service.call(History(key="doc-17", limit=3, after=pages[0].next_after)))
    assert [version for page in pages for version in page.versions] == history.versions
    assert pages[-1].next_after is None


async def test_known_text_under_a_new_key_costs_no_embedding(service):
    first = await service.call(Put(text="a cat sat"))
    before = service._models.own.bulk._embedder.stats.handled
    done = await service.call(Put(text="a cat sat", key="cat"))
    again = await service.call(Put(text="a cat sat", key="cat"))
    assert (done.cid, done.created, again.created) == (first.cid, True, False)
    assert service._models.own.bulk._embedder.stats.handled == before


async def test_a_long_text_has_a_key_as_any_other(service):
    text = " ".join(f"The word number {number} of a long text." for number in range(200))
    done = await service.call(Put(text=text, key="book"))
    assert done.chunks > 1
    assert (await service.call(KeyGet(key="book"))).record.text == text
    again = await service.call(Put(text=text, key="book", expect=done.cid))
    assert (again.cid, again.created) == (done.cid, False)


async def test_in_a_batch_each_item_has_its_key_and_its_outcome(service):
    items = [
        Item(vector=vector(1.0), key="a"),
        Item(vector=vector(2.0), key="b", expect=None),
        Item(vector=vector(3.0), key="b", expect=None),
        Item(vector=vector(4.0), key="", expect=None),
        Item(vector=vector(5.0), expect=None),
    ]
    done = await service.call(PutMany(items=items))
    assert [item.error and (item.error.code, item.error.field) for item in done.items] == [
        None,
        None,
        ("conflict", "expect"),
        ("unprocessable", "key"),
        ("bad_request", "expect"),
    ]
    assert done.items[2].error.current == done.items[1].cid
    assert done.position == (await service.call(Status())).position - 1
    assert (await service.call(Status())).records == 2


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (Put(vector=vector(1.0), key="k" * 513), Unprocessable, "key"),
        (Put(vector=vector(1.0), key="k", expect="nonsense"), Unprocessable, "expect"),
        (Put(vector=vector(1.0), expect=UNKNOWN), BadRequest, "expect"),
        (KeySet(key="k", cid="nonsense"), Unprocessable, "cid"),
        (KeySet(key="k", cid=UNKNOWN), NotFound, "cid"),
        (KeyGet(key="nobody"), NotFound, "key"),
        (KeyGet(key=""), Unprocessable, "key"),
        (KeyDelete(key="nobody"), NotFound, "key"),
        (History(key="nobody"), NotFound, "key"),
        (History(key="k", limit=0), Unprocessable, "limit"),
        (KeyList(limit=1001), Unprocessable, "limit"),
        (KeyList(prefix="p" * 513), Unprocessable, "prefix"),
        (KeyList(after="p" * 513), Unprocessable, "after"),
        (Events(since=-1), Unprocessable, "since"),
        (Events(since=10**6), Unavailable, "since"),
        (Events(limit=0), Unprocessable, "limit"),
        (Events(wait_s=31), Unprocessable, "wait_s"),
        (Events(wait_s=float("nan")), Unprocessable, "wait_s"),
        (Events(types=["record_stord"]), Unprocessable, "types"),
        (Events(namespace="nowhere"), NotFound, "namespace"),
        (NamespaceDelete(name="nowhere"), NotFound, "name"),
        (NamespaceDelete(name="public"), EngramError, "name"),
    ],
    ids=str,
)
async def test_what_will_not_do_names_its_field(service, request_, error, field):
    with pytest.raises(error) as caught:
        await service.call(request_)
    assert caught.value.field == field
    assert caught.value.message


async def test_a_key_outlives_what_it_names_and_says_so(service):
    done = await service.call(Put(vector=vector(1.0), key="doc"))
    await service.call(Delete(cid=done.cid))
    with pytest.raises(NotFound, match="deleted"):
        await service.call(KeyGet(key="doc"))
    assert [info.cid for info in (await service.call(KeyList())).keys] == [done.cid]
    await service.call(Put(vector=vector(1.0)))
    assert (await service.call(KeyGet(key="doc"))).record.cid == done.cid


async def test_keys_come_page_by_page(service):
    cid = (await service.call(Put(vector=vector(1.0)))).cid
    for number in range(7):
        await service.call(KeySet(key=f"doc/{number}", cid=cid))
    await service.call(KeySet(key="other", cid=cid))
    seen, after = [], None
    while True:
        page = await service.call(KeyList(prefix="doc/", limit=3, after=after))
        seen += [info.key for info in page.keys]
        if (after := page.next_after) is None:
            break
    assert seen == [f"doc/{number}" for number in range(7)]


async def test_events_go_on_from_any_position(service):
    for number in range(10):
        await service.call(Put(vector=vector(1.0 + number), key=f"k{number}"))
    everything = (await service.call(Events(limit=1000))).events
    assert [event.position for event in everything] == list(range(21))
    since, seen = 0, []
    while True:
        page = await service.call(Events(since=since, limit=4))
        if not page.events:
            break
        assert page.next == page.events[-1].position + 1
        seen += page.events
        since = page.next
    assert seen == everything
    keys = await service.call(Events(types=["key_set"], limit=3))
    assert [event.key for event in keys.events] == ["k0", "k1", "k2"]
    assert keys.next == keys.events[-1].position + 1
    assert (await service.call(Events(types=["namespace_created.1"]))).next == 21


async def test_a_reader_of_events_waits_for_the_next(service):
    size = (await service.call(Status())).position
    got = []

    async def wait() -> None:
        got.append(await service.call(Events(since=size, wait_s=30)))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await service.call(Put(vector=vector(1.0)))
    assert [event.type for event in got[0].events] == ["record_stored.1"]
    assert (await service.call(Events(since=size + 1, wait_s=0.01))).events == []


async def test_a_reader_that_waits_for_one_type_is_given_its_place_when_others_come(service):
    size = (await service.call(Status())).position
    got = []

    async def wait() -> None:
        got.append(await service.call(Events(since=size, wait_s=30, types=["key_set"])))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await service.call(Put(vector=vector(1.0)))
    assert (got[0].events, got[0].next) == ([], size + 1)


async def test_a_namespace_goes_with_all_that_is_in_it(service):
    await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"))
    items = [Item(vector=vector(1.0 + number, dim=4), key=f"k{number}") for number in range(1000)]
    for _ in range(2):
        await service.call(PutMany(items=items, namespace="notes"))
    await service.call(PutMany(items=[Item(vector=vector(0.0, 1.0 + n, dim=4)) for n in range(500)], namespace="notes"))
    kept = await service.call(Put(vector=vector(1.0)))
    done = await service.call(NamespaceDelete(name="notes"))
    assert done.records == 1500
    assert [space.name for space in (await service.call(NamespaceList())).namespaces] == ["public"]
    assert (await service.call(Status())).records == 1
    with pytest.raises(NotFound):
        await service.call(Query(vector=vector(1.0, dim=4), namespace="notes"))
    again = await service.call(NamespaceCreate(name="notes", dim=2, model_version="m/2"))
    assert (again.dim, again.records) == (2, 0)
    await service.call(Put(vector=vector(1.0, dim=2), key="k0", expect=None, namespace="notes"))
    assert (await service.call(Query(vector=vector(1.0)))).hits[0].cid == kept.cid


async def test_a_namespace_of_texts_goes_with_the_chunks_of_its_long_ones(service):
    await service.call(NamespaceCreate(name="books"))
    text = " ".join(f"The word number {number} of a long text." for number in range(200))
    await service.call(Put(text=text, key="book", namespace="books"))
    assert (await service.call(NamespaceDelete(name="books"))).records == 1
    assert (await service.call(Status())).records == 0


async def test_while_a_namespace_goes_writers_are_told_and_nothing_is_left(service):
    await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"))
    outcomes = []

    async def write(number: int) -> None:
        for each in range(20):
            request = Put(vector=vector(1.0 + number, each, dim=4), namespace="notes", key=f"{number}/{each}")
            try:
                outcomes.append(await service.call(request))
            except EngramError as error:
                outcomes.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, number)
        await trio.sleep(0.02)
        await service.call(NamespaceDelete(name="notes"))
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngramError)]
    assert all(isinstance(error, NotFound | Conflict) for error in refused)
    assert (await service.call(Status())).records == 0
