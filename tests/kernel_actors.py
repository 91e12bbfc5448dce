"""Actors and ports that the kernel's tests share. Time is trio's, which the tests' clock jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from engram.errors import NotFound
from engram.runtime import Actor, Message, handle, handle_batch


class TrioClock:
    """Virtual time behind `engram.ports.Clock`."""

    def now_ns(self) -> int:
        return int(trio.current_time() * 1e9)

    def monotonic(self) -> float:
        return trio.current_time()

    async def sleep(self, duration_s: float) -> None:
        await trio.sleep(duration_s)


class FixedRng:
    """Draws the same byte for ever, behind `engram.ports.Rng`."""

    def __init__(self, byte: int) -> None:
        self.byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self.byte]) * count


class Add(Message[int], frozen=True):
    number: int


class Fail(Message[None], frozen=True):
    error: BaseException


class Wait(Message[None], frozen=True):
    event: trio.Event


class Call(Message[object], frozen=True):
    """Have the actor do something in its own task."""

    call: Callable[[Actor], Awaitable[object]]


class Counter(Actor):
    def __init__(self, lives: list[int] | None = None) -> None:
        self.total = 0
        if lives is not None:
            lives.append(1)

    @handle
    async def add(self, message: Add) -> int:
        self.total += message.number
        return self.total

    @handle
    async def fail(self, message: Fail) -> None:
        raise message.error

    @handle
    async def wait(self, message: Wait) -> None:
        await message.event.wait()

    @handle
    async def call(self, message: Call) -> object:
        return await message.call(self)


class Batcher(Actor):
    """Doubles numbers, refuses 3, and has a bug with 13."""

    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches

    @handle_batch(4)
    async def add(self, messages: Sequence[Add]) -> list[int | NotFound]:
        return self.doubled(messages)

    @handle
    async def wait(self, message: Wait) -> None:
        await message.event.wait()

    def doubled(self, messages: Sequence[Add]) -> list[int | NotFound]:
        numbers = [message.number for message in messages]
        self.batches.append(numbers)
        if 13 in numbers:
            raise ValueError("thirteen")
        return [number * 2 if number != 3 else NotFound("three") for number in numbers]


class Repeater(Batcher):
    @handle_batch(4, repeatable=True)
    async def add(self, messages: Sequence[Add]) -> list[int | NotFound]:
        return self.doubled(messages)
