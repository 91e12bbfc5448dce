"""What every gateway calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Any

    from engram.wire import Answer, Request


class Service(Protocol):
    """The node behind its doors: one rule book, whatever the wire."""

    async def call(self, request: Request[Any]) -> Answer:
        """Carry out `request` and give its answer, of the Struct that `METHODS` names.

        Raises an `EngramError` for whatever the caller can mend; anything else is a bug, answered as `internal`. The
        gateway cancels a call at its deadline, and only then: a caller that has gone away cancels nothing.
        """
        ...

    def answer_now(self, request: Request[Any]) -> Answer | None:
        """Give the answer of a request that waits for nothing and takes well under a millisecond; None for any other.

        Raises as `call` does. A gateway that asks this first spares such a request a task and its turns in the loop.
        """
        ...
