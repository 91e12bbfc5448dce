from __future__ import annotations

from pathlib import Path

from engram.actors import Model
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
