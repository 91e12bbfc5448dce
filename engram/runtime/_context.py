"""What an actor is given: the world by its ports, and the refs of those it said it would ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram.ports import Clock, Offload, Rng
    from engram.runtime._log import Log
    from engram.runtime._ref import Ref


class Context(msgspec.Struct, frozen=True):
    """An actor's own view of the node. `refs` holds the actors that its class names in `asks`, and no others."""

    name: str
    clock: Clock
    rng: Rng
    offload: Offload
    refs: Mapping[str, Ref]
    log: Log

    def ref(self, name: str) -> Ref:
        """Give the ref of a declared actor. Raises `LookupError` for another, which no check for circles has seen."""
        try:
            return self.refs[name]
        except KeyError:
            raise LookupError(f"the {self.name} asks {name!r}, which its class does not name in `asks`") from None
