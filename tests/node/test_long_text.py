"""Long texts through the Service, on the real model: records, replies, grouping, refusals."""

from __future__ import annotations

import hashlib
import json

import golden
import pytest

from engram import record
from engram.embed import SPLITTER
from engram.errors import NotFound, TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.node import Config, real_world, running
from engram.wire import Delete, Embed, Get, Item, List, NamespaceCreate, Put, PutMany, Query, Status

GLOSSES = [json.loads(line)["text"] for line in (golden.DATA / "glosses.jsonl").read_text("utf-8").splitlines()]
GOLDEN = (
    "v1::01fc5c1689fdfc238b7816ab240efa382cee163189a3fbc49fddbe007f635066",
    400,
    2,
    "472dc9c4eea52f9b247336dcc17e94583a32f06a939258e7330281cef83626b6",
)


def prose(start, sentences=40):
    return "\n\n".join(". ".join(GLOSSES[at : at + 5]) + "." for at in range(start, start + sentences, 5))


@pytest.fixture
async def service(tmp_path, model_files):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        yield service


def handled(service):
    return service._models.own.bulk._embedder.stats.handled


async def listed(service, **options):
    return (await service.call(List(**options))).records


async def test_a_long_text_is_a_document_and_its_chunks(service):
    text = prose(0)
    done = await service.call(Put(text=text, metadata={"source": "wordnet", "n": 1.0}))
    assert (done.created, done.chunks > 2, done.tokens > 254) == (True, True, True)
    document = await service.call(Get(cid=done.cid, include_vector=True))
    assert (document.text, document.chunks) == (text, done.chunks)
    assert document.metadata == {"source": "wordnet", "n": 1, "engram.splitter": SPLITTER}
    chunks = [one for one in await listed(service, chunks=True) if one.cid != done.cid]
    assert len(chunks) == done.chunks
    vectors = await service.call(Embed(texts=[chunk.text for chunk in chunks]))
    assert max(vectors.tokens) <= LIMITS.text_tokens
    for index, (chunk, vector) in enumerate(zip(chunks, vectors.vectors, strict=True)):
        place = {"engram.parent": done.cid, "engram.chunk": index}
        start, end = chunk.metadata["engram.span"]
        assert chunk.metadata == document.metadata | place | {"engram.span": [start, end]}
        assert text[start:end] == chunk.text
        kept = await service.call(Get(cid=chunk.cid, include_vector=True))
        assert (kept.vector, kept.chunks) == (vector, 0)
    assert document.vector == vectors.vectors[0]
    assert [one.cid for one in await listed(service)] == [done.cid]


async def test_the_cids_are_those_of_the_records_alone(service):
    """Anyone who has the splitter and the embedder computes them: from the metadata as it stands, and no state."""
    text = prose(50)
    done = await service.call(Put(text=text, metadata={"n": 1}))
    vectors = (await service.call(Embed(texts=[one.text for one in (await listed(service, chunks=True))[1:]]))).vectors
    own = record.canonical_metadata({"n": 1, "engram.splitter": "split/1"}, ours=True)
    digest, _ = record.encode_text(text, vectors[0], own, "v1")
    assert done.cid == f"v1::{digest.hex()}"


async def test_golden_names(service):
    """`v1` and `split/1` give a text these names for ever, on any machine."""
    done = await service.call(Put(text=prose(0, 20), metadata={"n": 1}))
    names = hashlib.sha256("".join(one.cid for one in await listed(service, chunks=True)).encode()).hexdigest()
    assert (done.cid, done.tokens, done.chunks, names) == GOLDEN


async def test_a_text_that_fits_is_one_record_as_before(service):
    text = "cat " * 254
    done = await service.call(Put(text=text))
    assert (done.tokens, done.chunks) == (256, 0)
    kept = await service.call(Get(cid=done.cid))
    assert (kept.metadata, kept.chunks) == ({}, 0)
    assert (await service.call(Put(text="a cat"))).tokens == 4


async def test_a_known_long_text_costs_nothing_and_says_its_chunks(service):
    text = prose(0)
    first = await service.call(Put(text=text, metadata={"n": 1}))
    before, position = handled(service), (await service.call(Status())).position
    again = await service.call(Put(text=text, metadata={"n": 1}))
    assert (again.cid, again.position, again.created) == (first.cid, first.position, False)
    assert (again.chunks, again.tokens) == (first.chunks, None)
    batch = await service.call(PutMany(items=[Item(text=text, metadata={"n": 1})] * 2))
    assert [(item.cid, item.chunks, item.created) for item in batch.items] == [(first.cid, first.chunks, False)] * 2
    assert (handled(service), (await service.call(Status())).position) == (before, position)
    with pytest.raises(TooLarge, match="word pieces"):
        await service.call(Put(text=text, metadata={"n": 1}, on_long="reject"))


async def test_other_metadata_is_another_document_with_the_same_vectors(service):
    text = prose(0)
    first, other = [await service.call(Put(text=text, metadata={"n": n})) for n in (1, 2)]
    assert first.cid != other.cid
    hits = (await service.call(Query(text=GLOSSES[12], top_k=5))).hits
    assert [hit.cid for hit in hits[:2]] != [hits[0].cid] * 2
    assert {hit.cid for hit in hits} == {first.cid, other.cid}
    assert hits[0].score == hits[1].score
    assert hits[0].chunk.cid < hits[1].chunk.cid
    content = hashlib.sha256(text.encode()).hexdigest()
    both = await service.call(Get(cid=f"sha256:{content}"))
    assert {both.cid, *both.others} == {first.cid, other.cid}


async def test_a_long_text_is_one_hit_with_its_nearest_chunk(service):
    text = prose(0)
    done = await service.call(Put(text=text, metadata={"source": "wordnet"}))
    short = await service.call(Put(text=GLOSSES[150]))
    result = await service.call(Query(text=GLOSSES[22], top_k=10))
    assert [hit.cid for hit in result.hits] == [done.cid, short.cid]
    hit = result.hits[0]
    assert GLOSSES[22] in hit.text
    assert hit.text == text[slice(*hit.chunk.span)]
    assert hit.metadata == (await service.call(Get(cid=done.cid))).metadata
    chunk = await service.call(Get(cid=hit.chunk.cid))
    assert (chunk.text, chunk.metadata["engram.chunk"]) == (hit.text, hit.chunk.index)
    assert result.hits[1].chunk is None
    filtered = await service.call(Query(text=GLOSSES[150], filter='source = "wordnet"'))
    assert [hit.cid for hit in filtered.hits] == [done.cid]


async def test_a_filter_on_the_parent_searches_within_one_text(service):
    first = await service.call(Put(text=prose(0)))
    await service.call(Put(text=prose(40)))
    hits = (await service.call(Query(text=GLOSSES[45], filter=f'engram.parent = "{first.cid}"'))).hits
    assert [hit.cid for hit in hits] == [first.cid]
    place = {"engram.parent": first.cid, "engram.chunk": {"$gte": 1}}
    assert (await service.call(Query(text=GLOSSES[0], filter=place))).hits[0].chunk.index >= 1
    chunks = await listed(service, filter=f'engram.parent = "{first.cid}"', chunks=True)
    assert [chunk.metadata["engram.chunk"] for chunk in chunks] == list(range(first.chunks))
    assert await listed(service, filter=f'engram.parent = "{first.cid}"') == []


async def test_deleting_the_text_deletes_its_chunks_and_putting_it_brings_them_back(service):
    text = prose(0)
    done = await service.call(Put(text=text))
    before = await service.call(Status())
    assert (before.records, before.chunks) == (done.chunks + 1, done.chunks)
    chunk = (await service.call(Query(text=GLOSSES[3]))).hits[0].chunk
    with pytest.raises(Unprocessable, match=f"chunk of the long text {done.cid}"):
        await service.call(Delete(cid=chunk.cid))
    await service.call(Delete(cid=done.cid))
    after = await service.call(Status())
    assert (after.records, after.chunks, after.position) == (0, 0, before.position + done.chunks + 1)
    assert (await service.call(Query(text=GLOSSES[3]))).hits == []
    for cid in (done.cid, chunk.cid):
        with pytest.raises(NotFound):
            await service.call(Get(cid=cid))
    again = await service.call(Put(text=text))
    assert (again.cid, again.created, again.chunks) == (done.cid, True, done.chunks)
    assert (await service.call(Query(text=GLOSSES[3]))).hits[0].chunk == chunk


async def test_long_short_and_bad_in_one_batch(service):
    note = {"note": "x" * 4000}
    items = [
        Item(text=prose(0)),
        Item(text="short"),
        Item(text=" "),
        Item(text=prose(0), metadata=note),
        Item(text="fits", metadata=note),
        Item(text=prose(0)),
        Item(text=prose(40), metadata={"engram.parent": "mine"}),
    ]
    done = (await service.call(PutMany(items=items))).items
    assert [item.error.code if item.error else None for item in done] == [
        None, None, "unprocessable", "too_large", None, None, "unprocessable",
    ]  # fmt: skip
    assert [item.chunks > 2 for item in done] == [True, False, False, False, False, True, False]
    assert (done[5].cid, done[0].created, done[5].created) == (done[0].cid, True, False)
    assert "left for a text of" in done[3].error.message
    refused = (await service.call(PutMany(items=items[:2], on_long="reject"))).items
    assert [item.error.code if item.error else None for item in refused] == ["too_large", None]


async def test_reject_is_the_nodes_setting_or_the_callers(tmp_path, model_files):
    config = Config(data_dir=tmp_path / "data", on_long="reject")
    async with running(config, real_world(), embedded=True) as service:
        with pytest.raises(TooLarge, match=r"text: \d+ word pieces are over the limit of 254") as caught:
            await service.call(Put(text=prose(0)))
        assert caught.value.field == "text"
        assert (await service.call(Status())).records == 0
        assert (await service.call(Put(text=prose(0), on_long="chunk"))).chunks > 2


async def test_a_vector_beside_a_long_text_is_its_first_chunks(service):
    text = prose(0)
    chunked = await service.call(Put(text=text))
    vector = (await service.call(Get(cid=chunked.cid, include_vector=True))).vector
    assert (await service.call(Put(text=text, vector=vector))).cid == chunked.cid
    other = bytearray(vector)
    other[0] ^= 1
    with pytest.raises(Unprocessable, match="embedding of its first chunk"):
        await service.call(Put(text=text, vector=bytes(other)))


async def test_texts_beside_vectors_of_another_model_are_not_cut(service):
    await service.call(NamespaceCreate(name="other", dim=2, model_version="m/1"))
    done = await service.call(Put(text=prose(0), vector=[1.0, 2.0], namespace="other"))
    assert done.chunks == 0
    assert (await service.call(Get(cid=done.cid, namespace="other"))).text == prose(0)


async def test_a_long_question_and_a_long_text_to_embed_are_refused_never_cut(service):
    for request in (Query(text=prose(0)), Embed(texts=[prose(0)])):
        with pytest.raises(TooLarge, match=r"word pieces and the model takes at most 254"):
            await service.call(request)


async def test_the_largest_texts_that_the_limits_allow_are_kept(service):
    """One word of a megabyte is one record; a megabyte with a second word that does not fit is a document."""
    most = "a" * (LIMITS.text_bytes - 600)
    for text in (most, most + " b" * 300):
        done = await service.call(Put(text=text, metadata={"note": "x" * 3900}))
        assert (await service.call(Get(cid=done.cid))).text == text
        assert bool(done.chunks) == (text != most)
    assert len((most + " b" * 300).encode()) == LIMITS.text_bytes


async def test_a_list_of_large_texts_comes_in_pages_that_fit_a_message(service):
    cids = [(await service.call(Put(text=f"{n} " + "a" * 990_000))).cid for n in range(10)]
    pages, offset = [], 0
    while offset is not None:
        page = await service.call(List(limit=100, offset=offset))
        assert sum(len(one.text) for one in page.records) < LIMITS.message_bytes // 2
        pages += page.records
        offset = page.next_offset
    assert [one.cid for one in pages] == cids
