"""Erasing through the Service, where every door's calls come in: what is answered, and what is left on the disk."""

from __future__ import annotations

import struct

import pytest

import engram
from engram.errors import Forbidden, NotFound
from engram.identity import Caller
from engram.node import Config, real_world, running
from engram.wire import Delete, Get, List, NamespaceCreate, NamespaceDelete, Put

ADA, BOB = Caller(b"a" * 32), Caller(b"b" * 32)
SECRET = {"note": "the vault opens with 4711"}


def vector(*head: float, dim: int = 4) -> bytes:
    return struct.pack(f"<{dim}f", *head, *[0.0] * (dim - len(head)))


def kept(folder) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and b"4711" in file.read_bytes())


@pytest.fixture
async def service(tmp_path):
    async with running(Config(data_dir=tmp_path / "data"), real_world(), embedded=True) as service:
        for caller in (ADA, BOB):
            await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"), caller)
        await service.call(NamespaceCreate(name="more", dim=4, model_version="m/1"), ADA)
        yield service


def put(namespace="notes", n=1.0):
    return Put(vector=vector(1.0, n), metadata=SECRET, namespace=namespace)


async def test_erasing_says_so_and_leaves_nothing(service, tmp_path):
    done = await service.call(put(), ADA)
    plain = await service.call(Delete(cid=done.cid, namespace="notes"), ADA)
    assert not plain.erased
    assert kept(tmp_path)
    gone = await service.call(Delete(cid=done.cid, namespace="notes", erase=True), ADA)
    assert gone.erased
    assert gone.receipt.position == gone.position
    assert not kept(tmp_path)
    again = await service.call(Delete(cid=done.cid, namespace="notes", erase=True), ADA)
    assert (again.erased, again.position) == (True, gone.position)
    with pytest.raises(NotFound):
        await service.call(Get(cid=done.cid, namespace="notes"), ADA)
    back = await service.call(put(), ADA)
    assert back.created
    assert (await service.call(Get(cid=done.cid, namespace="notes"), ADA)).metadata == SECRET


async def test_what_another_namespace_of_the_callers_holds_is_said_to_be_kept(service, tmp_path):
    done = await service.call(put(), ADA)
    await service.call(put("more"), ADA)
    gone = await service.call(Delete(cid=done.cid, namespace="notes", erase=True), ADA)
    assert not gone.erased
    assert kept(tmp_path)
    await service.call(Delete(cid=done.cid, namespace="more"), ADA)
    assert not kept(tmp_path)


async def test_what_somebody_elses_namespace_holds_is_not_told(service, tmp_path):
    """Or whoever guesses a record could ask whether another has it: put it, erase it, and look at the answer."""
    done = await service.call(put(), ADA)
    await service.call(put(), BOB)
    gone = await service.call(Delete(cid=done.cid, namespace="notes", erase=True), ADA)
    alone = await service.call(put(n=2.0), ADA)
    nobodys = await service.call(Delete(cid=alone.cid, namespace="notes", erase=True), ADA)
    assert gone.erased == nobodys.erased
    assert (await service.call(Get(cid=done.cid, namespace="notes"), BOB)).metadata == SECRET
    await service.call(Delete(cid=done.cid, namespace="notes"), BOB)
    assert not kept(tmp_path)


async def test_nobody_erases_what_another_put(service, tmp_path):
    done = await service.call(Put(vector=vector(1.0, dim=384), metadata=SECRET), ADA)
    with pytest.raises(Forbidden):
        await service.call(Delete(cid=done.cid, erase=True), BOB)
    await service.call(Delete(cid=done.cid), ADA)
    with pytest.raises(NotFound):
        await service.call(Delete(cid=done.cid, erase=True), BOB)
    assert kept(tmp_path)
    assert (await service.call(Delete(cid=done.cid, erase=True))).erased  # the operator
    assert not kept(tmp_path)


async def test_a_namespace_is_erased_with_what_was_deleted_from_it_before(service, tmp_path):
    cids = [(await service.call(put(n=float(n)), ADA)).cid for n in range(5)]
    for cid in cids[:2]:
        await service.call(Delete(cid=cid, namespace="notes"), ADA)
    gone = await service.call(NamespaceDelete(name="notes", erase=True), ADA)
    assert gone.records == 3
    assert not kept(tmp_path)


async def test_one_that_was_deleted_is_erased_when_it_is_made_again_for_that(service, tmp_path):
    for n in range(3):
        await service.call(put(n=float(n)), ADA)
    await service.call(NamespaceDelete(name="notes"), ADA)
    assert kept(tmp_path)
    await service.call(NamespaceCreate(name="notes", dim=4, model_version="m/1"), ADA)
    assert (await service.call(List(namespace="notes"), ADA)).records == []
    await service.call(NamespaceDelete(name="notes", erase=True), ADA)
    assert not kept(tmp_path)


@pytest.mark.parametrize("name", ["folder", "one.engram"])
def test_an_embedded_memory_erases_too(tmp_path, name):
    path = tmp_path / name
    with engram.open(path) as memory:
        memory.namespaces.create("notes", dim=4, model="m/1")
        cid = memory.put(vector=[1.0, 0.0, 0.0, 0.0], metadata=SECRET, namespace="notes").cid
    assert kept(tmp_path)
    with engram.open(path) as memory:
        assert memory.delete(cid, "notes", erase=True) is True
    assert not kept(tmp_path)
    with engram.open(path) as memory:
        assert memory.list(namespace="notes") == []
        assert memory.put(vector=[1.0, 0.0, 0.0, 0.0], metadata=SECRET, namespace="notes").created
