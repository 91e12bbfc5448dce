from __future__ import annotations

from pathlib import Path

import pytest

from engram.actors import Model
from engram.embed import _selftest as selftest
from engram.errors import ModelNotReady
from engram.runtime import RealClock, Threads


async def test_a_model_folder_that_cannot_be_looked_into_fails_the_model_and_not_the_node():
    heard = {}
    threads = Threads({"model": 1})
    model = Model()
    try:
        await model.prepare(Path("/tmp") / ("x" * 300), threads, RealClock(), heard.__setitem__)
    finally:
        threads.close()
    assert model.status.state == "failed"
    assert "File name too long" in heard["model_failed"]["message"]


async def test_a_failed_self_test_fails_the_model_and_not_the_node(monkeypatch):
    monkeypatch.setattr(selftest, "GOLDEN", dict.fromkeys(selftest.GOLDEN, "0" * 64))
    threads = Threads({"model": 1})
    model = Model()
    try:
        await model.prepare(None, threads, RealClock(), lambda *_: None)
    finally:
        threads.close()
    assert model.status.state == "failed"
    with pytest.raises(ModelNotReady, match="No text is embedded, since its CID would be wrong") as caught:
        await model.ready(wait_for_fetch_s=0)
    assert caught.value.retry_after_s is None
