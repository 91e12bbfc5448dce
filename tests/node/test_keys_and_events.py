"""Keys, their history, events and the end of a namespace, as the Service answers for them."""

from __future__ import annotations

import struct

import msgspec
import pytest
import trio
import trio.testing

from engram.errors import BadRequest, Conflict, EngramError, NotFound, Unavailable, Unprocessable
from engram.node import Config, real_world, running
from engram.runtime import RealDisk
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
        (Events(types=[]), Unprocessable, "types"),
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


async def test_a_node_that_stops_has_nobody_wait(service):
    size = (await service.call(Status())).position
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.call, Events(since=size, wait_s=30))
            await trio.testing.wait_all_tasks_blocked()
            service.stop_waiting()
        await service.call(Events(since=size, wait_s=30))


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


class CountingDisk(RealDisk):
    """Counts how often a file of the log is opened to be read."""

    reads = 0

    def open(self, path, **how):
        self.reads += path.suffix == ".log"
        return super().open(path, **how)


@pytest.fixture
async def counted(tmp_path, model_files):
    """A service, and the disk that counts."""
    disk = CountingDisk()
    world = msgspec.structs.replace(real_world(), disk=disk)
    async with running(Config(data_dir=tmp_path / "data"), world, embedded=True) as service:
        yield service, disk


async def test_a_call_for_what_is_rare_looks_at_so_many_events_and_says_where_to_go_on(counted, monkeypatch):
    """It went on to the end of the log, and with a limit of 1 it read every event of it alone."""
    service, disk = counted
    monkeypatch.setattr("engram.node._facts._PASSED_EVENTS", 500)
    monkeypatch.setattr("engram.node._facts._BATCH_EVENTS", 100)
    for some in range(3):
        items = [Item(vector=vector(1.0 + some, number)) for number in range(400)]
        await service.call(PutMany(items=items))
    done = await service.call(Put(vector=vector(9.0), key="rare"))
    disk.reads, since, calls = 0, 0, 0
    while not (page := await service.call(Events(since=since, types=["key_set"], limit=1))).events:
        assert since < page.next <= since + 600
        since, calls = page.next, calls + 1
    assert (page.events[0].position, calls) == (done.position, 2)
    assert disk.reads < 40


async def test_many_who_wait_for_the_same_events_find_them_read_once(counted):
    """Each of more than 64 searched its place from the segment's start, again for every event."""
    service, disk = counted
    items = [Item(vector=vector(1.0, number)) for number in range(1000)]
    await service.call(PutMany(items=items))
    size = (await service.call(Status())).position
    seen: list[list[int]] = []

    async def follow() -> None:
        since, mine = size, []
        while len(mine) < 3:
            page = await service.call(Events(since=since, wait_s=30))
            since = page.next
            mine += [event.position for event in page.events]
        seen.append(mine)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            disk.reads = 0
            for number in range(3):
                await service.call(Put(vector=vector(2.0, number)))
    assert seen == [[size, size + 1, size + 2]] * 300
    assert disk.reads < 20


async def test_followers_of_all_paces_and_kinds_miss_and_repeat_nothing(service):
    """What is kept of what was read serves those who stop in the middle of it, and the log grows meanwhile."""
    seen: dict[int, list[int]] = {}
    kinds = [None, ["key_set"], ["record_stored"]]

    async def follow(number: int) -> None:
        since, mine = 0, seen.setdefault(number, [])
        while since < 203:
            page = await service.call(Events(since=since, limit=1 + number, wait_s=1, types=kinds[number % 3]))
            assert page.next >= since
            since = page.next
            mine += [event.position for event in page.events]

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(follow, number)
            for number in range(101):
                await service.call(Put(vector=vector(1.0 + number), key="doc"))
    everything = (await service.call(Events(limit=1000))).events
    assert len(everything) == 203
    for number, mine in seen.items():
        wanted = kinds[number % 3]
        assert mine == [e.position for e in everything if wanted is None or e.type.split(".")[0] in wanted]


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


async def test_of_two_who_delete_a_namespace_the_later_is_told_that_it_is_gone(service):
    await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"))
    await service.call(PutMany(items=[Item(vector=vector(1.0, n, dim=4)) for n in range(50)], namespace="notes"))
    outcomes = []

    async def delete() -> None:
        try:
            outcomes.append(await service.call(NamespaceDelete(name="notes")))
        except NotFound as error:
            outcomes.append(error.field)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(delete)
    gone = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert gone == ["name"] * 3


async def test_keys_of_a_namespace_made_anew_have_no_past(service):
    for _ in range(2):
        await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"))
        with pytest.raises(NotFound):
            await service.call(History(key="doc", namespace="notes"))
        done = await service.call(Put(vector=vector(1.0, dim=4), key="doc", namespace="notes"))
        history = await service.call(History(key="doc", namespace="notes"))
        assert [version.position for version in history.versions] == [done.position]
        await service.call(NamespaceDelete(name="notes"))


async def test_a_text_that_goes_while_it_is_put_under_a_key_is_kept_again(service):
    """It was found to be known, deleted by another, and its put was told of a record that is not there."""
    kept = 0
    for number in range(30):
        text = f"a text of the number {number}"
        first = await service.call(Put(text=text))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.call, Put(text=text, key=f"k{number}"))
            nursery.start_soon(service.call, Delete(cid=first.cid))
        kept += len((await service.call(History(key=f"k{number}"))).versions)
    assert kept == 30
