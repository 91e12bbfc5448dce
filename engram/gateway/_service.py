"""What every gateway calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from engram.identity import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Any

    from engram.errors import EngramError
    from engram.gateway._legacy import Legacy
    from engram.identity import Caller
    from engram.wire import Answer, Hello, HelloResult, Request


class Service(Protocol):
    """The node behind its doors: one rule book, whatever the wire."""

    @property
    def legacy(self) -> Legacy:
        """What the first Engram's API asks beside calls."""
        ...

    async def call(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer:
        """Carry out `request` for `caller` and give its answer, of the Struct that `METHODS` names.

        Raises an `EngramError` for whatever the caller can mend; anything else is a bug, answered as `internal`. The
        gateway cancels a call at its deadline, and when its caller's connection breaks; what is then under way in
        the store is done all the same, and what is not is never begun.
        """
        ...

    def hello(self, request: Hello, certificate: bytes | None) -> HelloResult:
        """Answer a `hello`, signed over the certificate (DER) that this connection has shown, if it has. As `call`."""
        ...

    def answer_now(self, request: Request[Any], caller: Caller = OPERATOR) -> Answer | None:
        """Give the answer of a request that waits for nothing and takes well under a millisecond; None for any other.

        Raises as `call` does. A gateway that asks this first spares such a request a task and its turns in the loop.
        """
        ...

    def together(self, request: Request[Any]) -> Hashable:
        """Say with which others `request` may be carried out in one go: those with an equal answer here. None: alone.

        They are all as quick: none has the others wait for what it alone needs.
        """
        ...

    async def call_together(
        self, requests: Sequence[Request[Any]], caller: Caller = OPERATOR
    ) -> Sequence[Answer | EngramError]:
        """Carry out requests of which `together` says the same; one answer or error each, otherwise as `call`.

        An `EngramError` that it raises is each one's; after a bug each is carried out again, alone.
        """
        ...
