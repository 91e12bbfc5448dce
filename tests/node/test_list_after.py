"""Paging by position: every record once, whatever is deleted meanwhile, and no walk over what was read."""

from __future__ import annotations

import pytest

from engram.errors import Unprocessable
from engram.node import Config, real_world, running
from engram.wire import Delete, Item, List, NamespaceCreate, PutMany


@pytest.fixture
async def service(tmp_path):
    config = Config(data_dir=tmp_path / "data", model_dir=tmp_path)  # vectors need no model
    async with running(config, real_world()) as service:
        await service.call(NamespaceCreate(name="v", dim=2, model_version="m/1"))
        items = [Item(vector=[1.0, float(n)], metadata={"n": n}) for n in range(25)]
        await service.call(PutMany(items=items, namespace="v"))
        yield service


async def pages(service, **options):
    after = 0
    while after is not None:
        page = await service.call(List(namespace="v", after=after, **options))
        yield page
        after = page.next_after


async def test_pages_by_position_give_every_record_once_in_order(service):
    for limit in (1, 7, 24, 25, 26):
        found = [
            record.metadata["n"] for page in [p async for p in pages(service, limit=limit)] for record in page.records
        ]
        assert found == list(range(25))


async def test_the_last_page_says_so(service):
    sizes = [(len(page.records), page.next_after is None) async for page in pages(service, limit=5)]
    assert sizes == [(5, False)] * 4 + [(5, True)]


async def test_a_deletion_between_two_pages_costs_no_record(service):
    """By offset, the records behind a deleted one move up and one is missed."""
    found = []
    async for page in pages(service, limit=10):
        found += [record.metadata["n"] for record in page.records]
        await service.call(Delete(cid=page.records[0].cid, namespace="v"))
        await service.call(Delete(cid=page.records[-1].cid, namespace="v"))
    assert found == list(range(25))


async def test_filter_and_offset_go_with_it(service):
    first = await service.call(List(namespace="v", limit=2, filter={"n": {"$gte": 10}}))
    rest = await service.call(
        List(namespace="v", limit=3, filter={"n": {"$gte": 10}}, after=first.next_after, offset=1)
    )
    assert [record.metadata["n"] for record in first.records] == [10, 11]
    assert [record.metadata["n"] for record in rest.records] == [13, 14, 15]
    with pytest.raises(Unprocessable, match="after"):
        await service.call(List(namespace="v", after=-1))
