"""Actors: a mailbox, a few typed handlers, and what happens when one of them fails.

An actor handles one message at a time, or one batch. A handler that raises an `EngramError` answers its asker with it.
Any other exception is a bug: the message that caused it becomes a dead letter, its asker gets `Internal`, and the
supervisor starts the actor again; the mailbox, which is not the actor's, survives. `StorageFailed` and `LogCorrupt` are
neither: they escalate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engram.runtime._handlers import handlers_of
from engram.runtime._handling import Desk, Handler

if TYPE_CHECKING:
    from engram.runtime._context import Context
    from engram.runtime._handling import Inlet
    from engram.runtime._mailbox import Mailbox


class Actor:
    """Base of actors. Subclasses mark handlers; a failed instance is replaced, so state lives in projections."""

    mailbox_limit: ClassVar[int] = 1024
    """Messages that may wait."""

    asks: ClassVar[tuple[str, ...]] = ()
    """Names of the actors that it may ask, or tell and wait for room; `context.refs` has these.

    A circle of them could be one of actors that all wait for one another, and is refused at boot.
    """

    context: Context
    """Set before `on_start`."""

    async def recover(self) -> None:
        """Bring back what an instance needs before its `on_start`. For base classes; an author's is `on_start`."""

    async def on_start(self) -> None:
        """Do what must be done before the first message. An exception of the first start is raised to who starts it."""

    async def on_stop(self) -> None:
        """Do what must be done after the last message, within 30 s. An instance that crashed is dropped without."""

    async def run(self, mailbox: Mailbox, inlet: Inlet | None = None) -> None:
        """Handle messages until the mailbox is closed and empty. `inlet`: what takes them from it, if not it itself."""
        await Desk(_table(self), mailbox, mailbox if inlet is None else inlet).work()


def _table(actor: Actor) -> dict[type, Handler]:
    table: dict[type, Handler] = {}
    for handling in handlers_of(type(actor)):
        limit = getattr(actor, handling.limit) if isinstance(handling.limit, str) else handling.limit
        method = getattr(actor, handling.method)
        handler = Handler(method, handling.kinds, limit, repeatable=handling.repeatable)
        table |= dict.fromkeys(handling.kinds, handler)
    return table
