"""What a client of a simulation does with keys, all of them in the public namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from engram import wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from engram.testing._history import Call

KEYS = ("doc", "draft")
"""Few, so that clients meet."""

Expected = Literal["any", "none", "head"]


class Name(msgspec.Struct, frozen=True, tag=True):
    """Have a key name a memory: by a put, or by its CID if somebody has learnt that."""

    key: int
    memory: int
    by_put: bool
    expect: Expected


class Unname(msgspec.Struct, frozen=True, tag=True):
    """Have a key name nothing."""

    key: int
    expect: Expected


class LookUp(msgspec.Struct, frozen=True, tag=True):
    """Ask what a key names, or has named."""

    key: int
    history: bool


Action = Name | Unname | LookUp


def draw(rng: Random, memories: Sequence[int]) -> Action:
    """Draw one action. `memories`: the numbers of those of the public namespace."""
    key = rng.randrange(len(KEYS))
    expect: Expected = rng.choice(["any", "any", "none", "head"])
    match rng.choices(range(3), [6, 2, 3])[0]:
        case 0:
            if memories:
                return Name(key, rng.choice(memories), rng.random() < 0.6, expect)
            return LookUp(key, history=True)
        case 1:
            return Unname(key, expect)
        case _:
            return LookUp(key, rng.random() < 0.5)


def told(call: Call, key: str) -> str | None:
    """Give the CID that a call's answer says that a key names; None where it says nothing of the kind."""
    if getattr(call.request, "key", None) != key:
        return None
    match call.answer:
        case wire.PutResult(cid=cid) | wire.KeyResult(cid=cid):
            return cid
        case wire.KeyRecord(record=record):
            return record.cid
    return None
