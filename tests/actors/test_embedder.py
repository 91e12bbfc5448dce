from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

from engram.actors import EmbedderActor, Model
from engram.embed import OwnModel, load_embedder
from engram.embed import _selftest as selftest
from engram.errors import ModelNotReady, Unavailable
from engram.node._embedding import Embedding, Lane
from engram.runtime import RealClock, RealRng, Supervisor, Threads


async def test_a_model_folder_that_cannot_be_looked_into_fails_the_model_and_not_the_node():
    heard = {}
    threads = Threads({"model": 1})
    model = Model()
    try:
        await model.prepare(OwnModel(), Path("/tmp") / ("x" * 300), threads, RealClock(), heard.__setitem__)
    finally:
        threads.close()
    assert model.status.state == "failed"
    assert "File name too long" in heard["model_failed"]["message"]


async def test_a_failed_self_test_fails_the_model_and_not_the_node(monkeypatch):
    monkeypatch.setattr(selftest, "GOLDEN", dict.fromkeys(selftest.GOLDEN, "0" * 64))
    threads = Threads({"model": 1})
    model = Model()
    try:
        await model.prepare(OwnModel(), None, threads, RealClock(), lambda *_: None)
    finally:
        threads.close()
    assert model.status.state == "failed"
    with pytest.raises(ModelNotReady, match="No text is embedded, since its CID would be wrong") as caught:
        await model.ready(wait_for_fetch_s=0)
    assert caught.value.retry_after_s is None


class Watched:
    """An embedder that tells when it is at work, and counts the calls that were stopped."""

    def __init__(self, embedder):
        self.embedder = embedder
        self.at_work = threading.Event()
        self.stopped = 0

    def embed(self, texts, stop):
        self.at_work.set()
        try:
            return self.embedder.embed(texts, stop)
        except Unavailable:
            self.stopped += 1
            raise


async def test_a_caller_that_gives_up_ends_its_texts_and_nothing_else(model_files):
    watched = Watched(load_embedder(model_files))
    threads = Threads({"embed": 2})
    model = Model()
    model._succeed(watched.embedder, 0, lambda *_: None)
    model.embedder = watched
    long = ["so it goes " * 80] * 8
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, RealClock(), RealRng())
        ref = await supervisor.start("embedder", lambda: EmbedderActor(threads, "embed", 2))
        embedding = Embedding(model, ref, threads, Lane("embed", 2), 0)
        with trio.CancelScope() as scope:

            async def give_up():
                await trio.to_thread.run_sync(watched.at_work.wait)
                scope.cancel()

            nursery.start_soon(give_up)
            await embedding.embed(long)
        assert scope.cancelled_caught
        assert [len(vector) for vector, _ in await embedding.embed(["after it"])] == [1536]
        await supervisor.stop()
    threads.close()
    assert watched.stopped == 1
