"""What one seed stands for: the memories, what each client does with them, how each life of the node goes and ends.

All of it is drawn before the simulation runs, so that a failing one can be made smaller by leaving parts out.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engram.record import CANONICAL_DIM
from engram.store import IndexLimits
from engram.testing import _naming as naming
from engram.testing._embedder import spans_of, vector_of
from engram.testing._network import NetworkFaults
from engram.testing._rng import stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from engram.testing._tables import TablesLoss

SPACES = ("", "notes", "images")
"""Namespaces by number: 0 is the public one, of texts; the others take vectors of eight numbers."""
SPACE_MODEL = "sim/1"
SPACE_DIM = 8

_WORDS = (
    *("amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "ledge"),
    *("marsh", "north", "ocean", "plain", "quarry", "ridge", "shoal", "tundra", "upland", "valley", "willow", "zephyr"),
)

_ASKING = 0.6
_NEVER_SEALED = 0.3
_NAMING = 0.35
_ERASING = 0.4

Kind = Literal["text", "long", "vector"]
Loss = Literal["all", "nothing", "some", "few", "most", "first", "last"]
Fault = Literal["eio", "eio_read", "short", "full", "slow"]
End = Literal["stop", "kill", "power"]


class Memory(msgspec.Struct, frozen=True):
    """A memory that clients put, get and delete: its content follows from its number."""

    number: int
    space: int
    kind: Kind

    @property
    def text(self) -> str | None:
        """Its text; two in a row share theirs, so that metadata alone tells them apart."""
        if self.kind == "vector":
            return None
        return _text(self.number // 2, self.kind)

    @property
    def vector(self) -> bytes | None:
        """Its vector, where it brings one."""
        return None if self.space == 0 and self.kind != "vector" else self._drawn()

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata."""
        return {"n": self.number, "odd": bool(self.number % 2)}

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """The spans that it is cut into; none where one record holds it."""
        if self.kind != "long" or self.space != 0:
            return []
        spans = spans_of(self.text or "")
        return spans if len(spans) > 1 else []

    def stored_vector(self) -> bytes:
        """Give the vector that is to be kept of it."""
        text = self.text or ""
        return self.vector or vector_of(text if not self.chunks else text[slice(*self.chunks[0])])

    def metadata_json(self) -> str:
        """Give its metadata as canonical JSON."""
        return json.dumps(self.metadata, sort_keys=True, separators=(",", ":"))

    def _drawn(self) -> bytes:
        return vector_of(f"vector {self.number}")[: 4 * (SPACE_DIM if self.space else CANONICAL_DIM)]


@functools.cache
def _text(number: int, kind: Kind) -> str:
    rng = stream(number, "text", kind)
    return " ".join(rng.choices(_WORDS, k=rng.randint(3, 9) if kind == "text" else rng.randint(70, 160)))


class Put(msgspec.Struct, frozen=True, tag=True):
    """Put memories: one alone, several as a batch."""

    memories: tuple[int, ...]


class Delete(msgspec.Struct, frozen=True, tag=True):
    """Delete a memory, if somebody has learnt its CID; `erase`: with its bytes."""

    memory: int
    erase: bool = False


class Get(msgspec.Struct, frozen=True, tag=True):
    """Get a memory, if somebody has learnt its CID."""

    memory: int


class Query(msgspec.Struct, frozen=True, tag=True):
    """Find what is near to a memory, whether that is there or not."""

    memory: int
    top_k: int
    filtered: bool


class ListSpace(msgspec.Struct, frozen=True, tag=True):
    """List a namespace."""

    space: int


class Create(msgspec.Struct, frozen=True, tag=True):
    """Create a namespace."""

    space: int


class Bad(msgspec.Struct, frozen=True, tag=True):
    """Send what must be refused."""

    kind: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Ask the node how it is."""


class Together(msgspec.Struct, frozen=True, tag=True):
    """Send several puts at once on one connection, and wait for all the answers."""

    memories: tuple[int, ...]


class Anew(msgspec.Struct, frozen=True, tag=True):
    """Erase a memory, if somebody has learnt its CID, and put it again, both at once."""

    memory: int


Action = Put | Delete | Get | Query | ListSpace | Create | Bad | Ask | Together | Anew | naming.Action


class Step(msgspec.Struct, frozen=True):
    """One action of one client, after a pause."""

    number: int
    client: int
    action: Action
    pause_s: float


class DiskFault(msgspec.Struct, frozen=True):
    """A fault of the disk at one of a life's calls; `full` lasts for some."""

    at_call: int
    kind: Fault


class LifePlan(msgspec.Struct, frozen=True):
    """How one life of the node goes, and how it ends: at a call of its disk, or after a time, or with its clients."""

    number: int
    end: End
    at_call: int | None
    after_s: float | None
    loss: Loss
    tables: TablesLoss
    skew_ns: int
    network: NetworkFaults
    faults: tuple[DiskFault, ...] = ()
    flip: Literal["", "events", "bodies"] = ""
    """Where a bit of what is durable flips before it begins."""
    part_at_s: float | None = None


class Plan(msgspec.Struct, frozen=True):
    """A whole simulation."""

    seed: int
    memories: tuple[Memory, ...]
    steps: tuple[Step, ...]
    lives: tuple[LifePlan, ...]
    segment_bytes: int
    asking: bool = False
    """Whether plug-ins run beside the rest, which crash, and are asked."""
    index_limits: IndexLimits = IndexLimits()


def draw(seed: int) -> Plan:
    """Draw the plan of a seed."""
    rng = stream(seed, "plan")
    memories = tuple(draw_memory(number, rng) for number in range(rng.randint(6, 30)))
    clients = rng.randint(1, 4)
    count = rng.randint(8, 60)
    steps = [step(number, rng, memories, clients) for number in range(count)]
    return Plan(
        seed,
        memories,
        (*_erasing(stream(seed, "erasing"), steps), *_naming_steps(stream(seed, "naming"), memories, count, clients)),
        tuple(_life(number, rng) for number in range(rng.randint(1, 4))),
        rng.choice([12_288, 16_384, 32_768, 65_536, 1 << 26]),
        stream(seed, "asking").random() < _ASKING,
        draw_index_limits(stream(seed, "index limits")),
    )


def _erasing(rng: Random, steps: Sequence[Step]) -> list[Step]:
    """Have deletions erase, and some gets be such ones, in some of the seeds."""
    if rng.random() >= _ERASING:
        return list(steps)
    return [msgspec.structs.replace(step, action=_erasing_action(rng, step.action)) for step in steps]


def _erasing_action(rng: Random, action: Action) -> Action:
    match action:
        case Delete(memory=memory):
            return Delete(memory, rng.random() < 0.8)
        case Get(memory=memory) if rng.random() < 0.5:
            return Delete(memory, erase=True)
        case Query(memory=memory) if rng.random() < 0.4:
            return Anew(memory)
    return action


def draw_index_limits(rng: Random) -> IndexLimits:
    """Draw when parts of the index are sealed and merged: mostly so early that a few memories make many segments."""
    if rng.random() < _NEVER_SEALED:
        return IndexLimits()
    largest = rng.choice([4, 8, 16, 64])
    return IndexLimits(
        rng.choice([1, 2, 2, 3, 5]), rng.choice([2, 2, 3]), largest, look_s=rng.choice([0.01, 0.05, 0.2])
    )


def draw_memory(number: int, rng: Random) -> Memory:
    """Draw one memory."""
    space = rng.choices([0, 1, 2], [5, 2, 1])[0]
    kinds: list[Kind] = ["text", "long", "vector"]
    return Memory(number, space, rng.choices(kinds, [5, 2, 2] if space == 0 else [1, 0, 4])[0])


def step(number: int, rng: Random, memories: tuple[Memory, ...], clients: int) -> Step:
    """Draw one step; the first two create the namespaces."""
    return Step(
        number,
        rng.randrange(clients),
        Create(1 + number) if number < 2 else _action(rng, memories),
        rng.random() ** 4 * 0.5,
    )


def public_of(memories: Sequence[Memory]) -> list[int]:
    """Give the numbers of the memories of the public namespace."""
    return [memory.number for memory in memories if memory.space == 0]


def _naming_steps(rng: Random, memories: tuple[Memory, ...], first: int, client: int) -> list[Step]:
    """Draw what two more clients do with keys, in some of the seeds."""
    if rng.random() >= _NAMING:
        return []
    numbers, public = range(first, first + rng.randint(6, 30)), public_of(memories)
    return [Step(n, client + n % 2, naming.draw(rng, public), rng.random() ** 4 * 0.5) for n in numbers]


def _action(rng: Random, memories: tuple[Memory, ...]) -> Action:
    memory = rng.choice(memories).number
    match rng.choices(range(10), [30, 8, 4, 14, 14, 12, 3, 1, 3, 2])[0]:
        case 0:
            return Put((memory,))
        case 1:
            return Put(_several(rng, memories, 8))
        case 2:
            return Together(_several(rng, memories, 6))
        case 3:
            return Delete(memory)
        case 4:
            return Get(memory)
        case 5:
            return Query(memory, rng.choice([1, 3, 10, 100]), rng.random() < 0.3)
        case 6:
            return ListSpace(rng.randrange(3))
        case 7:
            return Create(rng.randint(1, 2))
        case 8:
            return Ask()
        case _:
            return Bad(rng.randrange(len(BAD)))


def _several(rng: Random, memories: tuple[Memory, ...], most: int) -> tuple[int, ...]:
    """Give numbers of memories of one namespace."""
    space = rng.choice(memories).space
    numbers = [memory.number for memory in memories if memory.space == space]
    return tuple(rng.choices(numbers, k=rng.randint(1, most)))


BAD = ("nan", "dim", "unknown cid", "bad cid", "no namespace", "empty", "reserved key", "garbage", "method", "huge k")
"""What `Bad` may send."""


def _life(number: int, rng: Random) -> LifePlan:
    ends: list[End] = ["power", "kill", "stop"]
    losses: list[Loss] = ["all", "nothing", "some", "few", "most", "first", "last"]
    tables: list[TablesLoss] = ["none", "some", "damaged", "missing"]
    faults: list[Fault] = ["eio", "eio_read", "short", "full", "slow"]
    end = rng.choices(ends, [6, 2, 1])[0]
    at_call = int(rng.expovariate(1 / 60)) if end != "stop" and rng.random() < 0.8 else None
    faulty = rng.random() < 0.25
    return LifePlan(
        number,
        end,
        at_call,
        rng.random() ** 2 * 4 if at_call is None else None,
        rng.choice(losses),
        rng.choices(tables, [8, 6, 1, 1])[0],
        rng.choice([0, 0, 0, -3_600_000_000_000, 5_000_000_000]),
        NetworkFaults(
            resets=rng.choice([0, 0, 0, 0.01, 0.05]),
            refusals=rng.choice([0, 0, 0.1]),
            pieces=rng.choice([0.0, 0.1, 0.5]),
            latency_spread_s=rng.choice([0.002, 0.002, 0.2]),
        ),
        tuple(DiskFault(int(rng.expovariate(1 / 50)), rng.choice(faults)) for _ in range(rng.randint(1, 2)))
        if faulty
        else (),
        rng.choice(["events", "bodies"]) if number and rng.random() < 0.12 else "",
        rng.random() * 3 if rng.random() < 0.1 else None,
    )
