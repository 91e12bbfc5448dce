"""The clients of a simulation: each carries out its steps, one after the other, whatever becomes of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from engram import wire
from engram.testing import _naming as naming
from engram.testing import _plan as plan
from engram.testing._checks import claimed
from engram.testing._client import AsyncClient, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.errors import EngramError
    from engram.ports import Network
    from engram.testing._history import Call, History
    from engram.testing._plan import Memory, Step

HOST, PORT = "127.0.0.1", 8090
_PATIENCE_S = 60.0
_AGAIN_S = 0.05
_ASKING_FOR = 5
"""Of so many calls, those reads that come first and second ask for a position."""


class Shared:
    """What the clients share: what happened, what they have learnt, and whether there is a node."""

    def __init__(self, history: History, memories: Sequence[Memory]) -> None:
        self.history = history
        self.memories = {memory.number: memory for memory in memories}
        self.cids: dict[int, str] = {}
        self.life = 0
        self.listening = trio.Event()

    def close(self) -> None:
        """Note that there is no node any more; who waits for one waits on."""
        if self.listening.is_set():
            self.listening = trio.Event()

    def asking_for(self, request: wire.Request[Any]) -> wire.Request[Any]:
        """Have some reads ask for all that is known to be written, or for one event more, which somebody may write."""
        number = len(self.history.calls)
        if not isinstance(request, wire.Query | wire.List) or number % _ASKING_FOR > 1:
            return request
        known = max(map(claimed, self.history.calls), default=0)
        return msgspec.structs.replace(request, min_position=known + number % _ASKING_FOR)


class Client:
    """One client."""

    def __init__(self, name: str, shared: Shared, network: Network) -> None:
        self._name = name
        self._shared = shared
        self._rpc = AsyncClient(network, HOST, PORT, patience_s=_PATIENCE_S)

    async def carry_out(self, steps: Sequence[Step]) -> None:
        """Carry out the steps in order."""
        for step in steps:
            await trio.sleep(step.pause_s)
            await self._shared.listening.wait()
            await self.act(step.action)
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        await self._rpc.close()

    async def ask_everything(self) -> None:
        """List every namespace, get every memory that has a CID, and ask some queries, many at a time."""
        numbers = sorted(self._shared.cids)
        lists = [wire.List(namespace=_name(space), limit=1000, chunks=True) for space in range(len(plan.SPACES))]
        gets = [self._get(number) for number in numbers]
        histories = [wire.History(key=key) for key in naming.KEYS]
        queries = [self._query(plan.Query(number, 5, bool(number % 3))) for number in numbers[::4]]
        about: list[tuple[int, ...]] = [(), (), (), *((number,) for number in numbers + numbers[::4]), (), ()]
        await self._calls([*lists, *gets, *queries, *histories], about)

    async def act(self, action: plan.Action) -> None:
        """Carry out one action."""
        match action:
            case plan.Put(memories=[number]):
                await self._put_all([number])
            case plan.Put(memories=numbers):
                await self._put_many(numbers)
            case plan.Together(memories=numbers):
                await self._put_all(numbers)
            case plan.Delete(memory=number, erase=erase):
                if (cid := self._shared.cids.get(number)) is not None:
                    await self._call(wire.Delete(cid=cid, namespace=self._space(number), erase=erase), (number,))
            case plan.Anew(memory=number):
                await self._put_anew(number)
            case plan.Get(memory=number):
                if number in self._shared.cids:
                    await self._call(self._get(number), (number,))
            case plan.Query(memory=number):
                await self._call(self._query(action), (number,))
            case plan.ListSpace(space=space):
                await self._call(wire.List(namespace=_name(space), limit=1000, chunks=True))
            case plan.Create(space=space):
                name, model, dim = plan.SPACES[space], plan.SPACE_MODEL, plan.SPACE_DIM
                await self._call(wire.NamespaceCreate(name=name, model_version=model, dim=dim))
            case plan.Ask():
                await self._calls([wire.Status(), wire.Actors()], [(), ()])
            case plan.Bad(kind=kind):
                await self._bad(plan.BAD[kind])
            case naming.Name(key=key, memory=number, by_put=by_put):
                await self._have_named(naming.KEYS[key], number, self._expected(key, action.expect), by_put=by_put)
            case naming.Unname(key=key):
                await self._call(wire.KeyDelete(key=naming.KEYS[key], expect=self._expected(key, action.expect)))
            case naming.LookUp(key=key, history=True):
                await self._call(wire.History(key=naming.KEYS[key]))
            case naming.LookUp(key=key):
                await self._call(wire.KeyGet(key=naming.KEYS[key]))

    async def _have_named(self, key: str, number: int, expect: wire.Expect, *, by_put: bool) -> None:
        memory, cid = self._shared.memories[number], self._shared.cids.get(number)
        request: wire.Request[Any]
        if by_put or cid is None:
            vector, metadata = memory.vector, memory.metadata
            request = wire.Put(text=memory.text, vector=vector, metadata=metadata, key=key, expect=expect)
        else:
            request = wire.KeySet(key=key, cid=cid, expect=expect)
        answer = (await self._call(request, (number,))).answer
        if isinstance(answer, wire.PutResult):
            self._shared.cids[number] = answer.cid

    def _expected(self, key: int, expect: naming.Expected) -> wire.Expect:
        """Give what is to be expected of a key: what somebody was told last that it names, for its head."""
        if expect == "any":
            return msgspec.UNSET
        named = (naming.told(call, naming.KEYS[key]) for call in reversed(self._shared.history.calls))
        return None if expect == "none" else next((cid for cid in named if cid is not None), None)

    async def _put_anew(self, number: int) -> None:
        requests: list[wire.Request[Any]] = [_put(self._shared.memories[number])]
        if (cid := self._shared.cids.get(number)) is not None:
            requests.insert(0, wire.Delete(cid=cid, namespace=self._space(number), erase=True))
        *_, call = await self._calls(requests, [(number,)] * len(requests))
        if isinstance(call.outcome, wire.PutResult):
            self._shared.cids[number] = call.outcome.cid

    async def _put_all(self, numbers: Sequence[int]) -> None:
        puts = [_put(self._shared.memories[number]) for number in numbers]
        for number, call in zip(numbers, await self._calls(puts, [(number,) for number in numbers]), strict=True):
            if isinstance(call.outcome, wire.PutResult):
                self._shared.cids[number] = call.outcome.cid

    async def _put_many(self, numbers: Sequence[int]) -> None:
        memories = [self._shared.memories[number] for number in numbers]
        items = [wire.Item(text=each.text, vector=each.vector, metadata=each.metadata) for each in memories]
        call = await self._call(wire.PutMany(items=items, namespace=_name(memories[0].space)), tuple(numbers))
        if isinstance(call.outcome, wire.PutManyResult):
            for number, item in zip(numbers, call.outcome.items, strict=True):
                if item.cid is not None:
                    self._shared.cids[number] = item.cid

    def _get(self, number: int) -> wire.Get:
        return wire.Get(cid=self._shared.cids[number], namespace=self._space(number), include_vector=True)

    def _query(self, action: plan.Query) -> wire.Query:
        memory = self._shared.memories[action.memory]
        by_text = memory.space == 0 and memory.kind != "vector"
        return wire.Query(
            text=memory.text if by_text else None,
            vector=None if by_text else memory.vector,
            top_k=action.top_k,
            filter={"odd": True} if action.filtered else None,
            namespace=_name(memory.space),
        )

    async def _bad(self, kind: str) -> None:
        bad: dict[str, Any] = {
            "nan": wire.Put(vector=[float("nan")] * 384),
            "dim": wire.Put(vector=b"\0\0\x80\x3f"),
            "unknown cid": wire.Get(cid="v1::" + "0" * 64),
            "bad cid": wire.Delete(cid="v2::"),
            "no namespace": wire.Put(text="x", namespace="nowhere"),
            "empty": wire.Put(text=" "),
            "reserved key": wire.Put(text="x", metadata={"engram.parent": 1}),
            "huge k": wire.Query(text="x", top_k=10**6),
        }
        if kind in bad:
            await self._call(bad[kind])
        else:
            raw = b"\xc1" if kind == "garbage" else msgspec.msgpack.encode([0, 1, "no_method", [{}]])
            self._shared.history.note(self._name, f"sends {raw!r}")
            await self._rpc.send_raw(raw)

    async def _call(self, request: wire.Request[Any], memories: tuple[int, ...] = ()) -> Call:
        return (await self._calls([request], [memories]))[0]

    async def _calls(self, requests: Sequence[wire.Request[Any]], memories: Sequence[tuple[int, ...]]) -> list[Call]:
        history, life = self._shared.history, self._shared.life
        requests = [self._shared.asking_for(each) for each in requests]
        calls = [history.begin(self._name, *each, life) for each in zip(requests, memories, strict=True)]
        outcomes: Sequence[wire.Answer | EngramError | NoAnswer] = await self._rpc.call_all(requests)
        for call, outcome in zip(calls, outcomes, strict=True):
            history.end(call, outcome, self._shared.life)
        if any(isinstance(outcome, NoAnswer) for outcome in outcomes):
            await trio.sleep(_AGAIN_S)
        return calls

    def _space(self, number: int) -> str | None:
        return _name(self._shared.memories[number].space)


def _put(memory: plan.Memory) -> wire.Put:
    return wire.Put(text=memory.text, vector=memory.vector, metadata=memory.metadata, namespace=_name(memory.space))


def _name(space: int) -> str | None:
    return plan.SPACES[space] or None
