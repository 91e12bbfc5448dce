from __future__ import annotations

import re
import struct
from functools import partial

import pytest

from engram.errors import BadRequest, EngramError, NotFound, Unprocessable
from engram.identity import hello_message, verify
from engram.node import Config, real_world, running
from engram.wire import METHODS, Delete, Hello, Item, NamespaceCreate, Put, PutMany, PutResult, Query, Status

VECTOR = struct.pack("<384f", *[0.5] * 384)


@pytest.fixture
async def service(tmp_path, model_files):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        yield service


async def test_a_known_text_costs_no_embedding_and_no_event(service):
    first = await service.call(Put(text="a cat sat", metadata={"n": 1}))
    embedded, position = service._models.own.bulk._embedder.stats.handled, (await service.call(Status())).position
    again = await service.call(Put(text="a cat sat", metadata={"n": 1.0}))
    assert (again.cid, again.position, again.created) == (first.cid, first.position, False)
    batch = await service.call(PutMany(items=[Item(text="a cat sat", metadata={"n": 1})] * 3))
    assert [item.cid for item in batch.items] == [first.cid] * 3
    assert service._models.own.bulk._embedder.stats.handled == embedded
    assert (await service.call(Status())).position == position


async def test_other_metadata_is_another_memory_of_the_same_content(service):
    first = await service.call(Put(text="a cat sat"))
    other = await service.call(Put(text="a cat sat", metadata={"n": 1}))
    assert first.cid != other.cid
    assert other.created


async def test_a_text_twice_in_a_batch_is_embedded_once(service):
    texts = ["one", "two", "one", "two", "one"]
    before = service._models.own.bulk._embedder.stats.handled
    done = await service.call(PutMany(items=[Item(text=text) for text in texts]))
    assert [item.created for item in done.items] == [True, True, False, False, False]
    assert service._models.own.bulk._embedder.stats.handled == before + 1


async def test_a_write_is_visible_when_it_is_acknowledged(service):
    for number in range(20):
        done = await service.call(Put(text=f"memory number {number}"))
        hits = (await service.call(Query(text=f"memory number {number}", top_k=1, min_position=done.position))).hits
        assert hits[0].cid == done.cid
        await service.call(Delete(cid=done.cid))
        assert not (await service.call(Query(text="memory"))).hits
        with pytest.raises(NotFound):
            await service.call(Delete(cid=done.cid))


@pytest.mark.parametrize("caller", [None, b"k" * 32])
async def test_hello_is_signed_by_the_nodes_key(service, caller):
    answer = await service.call(Hello(protocol=1, agent="test", nonce=b"n" * 32, node_key=caller))
    message = hello_message(1, b"n" * 32, answer.nonce, None, answer.node_key, caller)
    assert verify(answer.node_key, message, answer.signature)
    assert answer.methods == sorted(METHODS)
    assert (answer.model_version, answer.limits["in_flight"], answer.log_size) == ("v1", 128, 1)


@pytest.mark.parametrize(
    ("hello", "field"),
    [
        (Hello(protocol=2, agent="test", nonce=b"n" * 32), "protocol"),
        (Hello(protocol=1, agent="test", nonce=b"n" * 31), "nonce"),
        (Hello(protocol=1, agent="test", nonce=b"n" * 32, node_key=b"k"), "node_key"),
    ],
)
async def test_a_hello_that_will_not_do_names_its_field(service, hello, field):
    with pytest.raises(BadRequest) as caught:
        await service.call(hello)
    assert caught.value.field == field


async def test_a_query_is_answered_at_once_where_it_is_quick_and_waits_for_nothing(service):
    done = await service.call(Put(vector=VECTOR))
    seen = done.position + 1
    answer = service.answer_now(Query(vector=VECTOR, min_position=seen))
    assert ([hit.cid for hit in answer.hits], answer.position, answer.mode) == ([done.cid], seen, "exact")
    assert answer == await service.call(Query(vector=VECTOR))
    for other in (
        Query(text="a cat"),
        Query(vector=VECTOR, min_position=seen + 1),
        Query(vector=VECTOR, filter="n = 1"),
        Status(),
        Put(vector=VECTOR),
    ):
        assert service.answer_now(other) is None
    with pytest.raises(Unprocessable, match="top_k"):
        service.answer_now(Query(vector=VECTOR, top_k=0))


def vector(*numbers):
    return struct.pack("<4f", *numbers)


@pytest.fixture
async def bench(service):
    await service.call(NamespaceCreate(name="bench", dim=4, model_version="bench/1"))
    return partial(Put, namespace="bench")


async def test_puts_of_vectors_go_together_by_their_namespace(service, bench):
    one, other = bench(vector=vector(1, 0, 0, 0)), bench(vector=vector(0, 1, 0, 0), metadata={"n": 1})
    assert service.together(one) == service.together(other) is not None
    elsewhere = [Put(vector=one.vector), bench(vector=one.vector, model_version="bench/1")]
    assert len({service.together(put) for put in [one, *elsewhere]}) == 3
    for alone in (bench(vector=one.vector, text="a text beside it"), Put(text="a text"), Status()):
        assert service.together(alone) is None


async def test_puts_in_one_go_have_the_outcomes_that_each_would_have_alone(service, bench):
    good = [bench(vector=vector(1, n, 0, 0), metadata={"n": n}) for n in range(3)]
    wrong = [bench(vector=bytes(16)), bench(vector=vector(1, 0, 0, 0) * 2), bench(), bench(vector=b"1234", metadata={})]
    together = [good[0], wrong[0], good[1], good[0], wrong[1], wrong[2], good[2], wrong[3]]
    outcomes = await service.call_together(together)
    for put, outcome in zip(together, outcomes, strict=True):
        if isinstance(outcome, EngramError):
            with pytest.raises(type(outcome), match=re.escape(str(outcome))):
                await service.call(put)
        else:
            alone = await service.call(put)
            assert (alone.cid, alone.position, alone.created) == (outcome.cid, outcome.position, False)
    assert [outcome.created for outcome in outcomes if isinstance(outcome, PutResult)] == [True, True, False, True]
    found = await service.call(Query(vector=good[2].vector, namespace="bench", top_k=1))
    assert found.hits[0].cid == outcomes[6].cid


async def test_what_is_wrong_with_all_of_them_is_raised(service, bench):
    put = Put(vector=vector(1, 0, 0, 0), namespace="nowhere")
    with pytest.raises(NotFound, match="nowhere"):
        await service.call_together([put, put])
    with pytest.raises(Unprocessable, match="model_version"):
        await service.call_together([bench(vector=vector(1, 0, 0, 0), model_version="other/1")] * 2)
