"""What a type checker is told of `engram.open`; `tests/test_typing.py` has mypy read it."""

from pathlib import Path
from typing import assert_type

import engram
from engram import AsyncMemory, Memory
from engram.sdk import AsyncEngramClient, EngramClient, Hit, Record


def use(path: str) -> list[Hit]:
    assert_type(engram.open(Path("memory")), Memory)
    assert_type(engram.open(":memory:"), Memory)
    assert_type(engram.open("memory", {"mine": {"backend": "static"}}), Memory)
    assert_type(engram.open("memory", actors={}), Memory)
    assert_type(engram.open(path), Memory | EngramClient)
    with engram.open(path) as memory:  # whatever it is
        assert_type(memory.get(memory.ingest("a text")), Record)
        return memory.query("words", top_k=3)


async def use_async(path: str) -> list[Hit]:
    assert_type(engram.open_async(Path("memory")), AsyncMemory)
    assert_type(engram.open_async(path), AsyncMemory | AsyncEngramClient)
    async with engram.open_async(path) as memory:
        assert_type(await memory.get(await memory.ingest("a text")), Record)
        return await memory.query("words", top_k=3)


engram.open(path=5)  # type: ignore[call-overload]
engram.open("memory").ask("actor", "message")  # type: ignore[union-attr, arg-type]
