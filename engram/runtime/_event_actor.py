"""Actors that follow the log: a state that is a fold of it, reactions to it, beside the handling of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
import trio

from engram.runtime._actor import Actor
from engram.runtime._failures import leaf
from engram.runtime._handlers import handlers_of
from engram.runtime._marks import folds_of, reactions_of
from engram.runtime._projection import Fold, Projection
from engram.runtime._reactions import Reactions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram.events import Event
    from engram.runtime._handling import Inlet
    from engram.runtime._mailbox import Envelope, Mailbox
    from engram.runtime._projection import Feed
    from engram.runtime._tail import Tail


class EventActor(Actor):
    """Base of actors with `@apply` and `@react`. What makes an instance gives it its `feed`.

    `self.state`, a `State`, is folded up to the log's end before `on_start`, and kept current. A handler sees all that
    was committed before its message was sent: who has the answer to a write finds it here. While a handler awaits, the
    state moves on. Handling, folding and reacting are three tasks of one actor: where one fails, all are begun again.
    """

    State: ClassVar[type[msgspec.Struct] | None] = None
    """What `self.state` is: a msgspec Struct, not frozen, whose every field has a default."""

    fold_version: ClassVar[int] = 1
    """Raise it when a fold means something else, and the state is folded again from the log's beginning."""

    snapshot_every: ClassVar[int] = 10_000
    """Events after which the state is kept on the disk; it is at every stop too."""

    react_from: ClassVar[Literal["start", "end"]] = "end"
    """Where the reactions begin when the actor lives for the first time: with the log's first event, or the first that
    came after the node had opened it."""

    reaction_limit_s: ClassVar[float] = 60.0
    """How long one reaction may take; over it the actor crashes, and the event comes again."""

    feed: Feed
    state: Any

    _projection: Projection | None = None
    _reactions: Reactions | None = None

    async def recover(self) -> None:
        """Bring the state to the log's end, and find where the reactions were."""
        check_actor(type(self))
        log, offload = self.context.log, self.context.offload
        if self.State is not None:
            fold = Fold(self.State, self.fold_version, self._bound(folds_of(type(self))))
            self._projection = Projection(fold, self._set_state, self.feed, offload, log)
            await self._projection.recover()
        if bound := self._bound(reactions_of(type(self))):
            self._reactions = Reactions(bound, self.feed, self._projection, offload, log, self.reaction_limit_s)
            await self._reactions.recover(self.react_from)

    async def run(self, mailbox: Mailbox, inlet: Inlet | None = None) -> None:
        """Handle messages until the mailbox is closed and empty, and follow the log meanwhile."""
        if inlet is None and self._projection is not None:
            inlet = _Inlet(mailbox, self.feed.tail, self._projection)
        clean = False
        try:
            async with trio.open_nursery() as nursery:
                if self._projection is not None:
                    nursery.start_soon(self._projection.keep, self.snapshot_every)
                if self._reactions is not None:
                    nursery.start_soon(self._reactions.keep)
                await super().run(mailbox, inlet)
                if self._projection is not None:
                    await self._projection.reached(self.feed.tail.size)
                nursery.cancel_scope.cancel()
            clean = True
        except trio.Cancelled:
            clean = True
            raise
        except BaseExceptionGroup as group:
            error = leaf(group)
            clean = isinstance(error, trio.Cancelled)
            raise error from None
        finally:
            with trio.CancelScope(shield=True):
                await self._keep(state=clean)

    async def _keep(self, *, state: bool) -> None:
        """Keep the cursor, which is right whatever has happened; the state only of an instance that did not crash."""
        if self._reactions is not None:
            await self._reactions.save()
        if self._projection is not None and state:
            await self._projection.save()

    def _bound(self, methods: Mapping[type[Event], str]) -> dict[type[Event], Any]:
        return {kind: getattr(self, name) for kind, name in methods.items()}

    def _set_state(self, state: Any) -> None:
        self.state = state


class _Inlet:
    """Holds each message back until all that was committed before it was sent is folded."""

    def __init__(self, mailbox: Mailbox, tail: Tail, projection: Projection) -> None:
        self._mailbox = mailbox
        self._tail = tail
        self._projection = projection

    def next(self) -> Envelope | None:
        return self._mailbox.next() if self._projection.position >= self._tail.size else None

    async def get(self) -> Envelope | None:
        while (envelope := await self._mailbox.get()) is not None:
            size = self._tail.size
            if self._projection.position >= size:
                return envelope
            try:
                await self._projection.reached(size)
            except BaseException:
                self._mailbox.put_back([envelope])
                raise
            envelope.alone = True  # those behind it may have been sent later than what was waited for
            if self._mailbox.in_time(envelope):
                return envelope
        return None


def check_actor(kind: type[Actor]) -> None:
    """Check what a class handles, folds, reacts to and asks. Raises `TypeError` that says what will not do."""
    handlers_of(kind)
    folds, called = folds_of(kind), kind.__name__
    reactions_of(kind)
    if isinstance(kind.asks, str):
        raise TypeError(f"{called}.asks is the text {kind.asks!r}: make it a tuple of names")
    if (first := getattr(kind, "react_from", "end")) not in {"start", "end"}:
        raise TypeError(f'{called}.react_from is {first!r}: make it "start" or "end"')
    state = getattr(kind, "State", None)
    if state is None:
        if folds:
            raise TypeError(f"{called} folds events and has no `State` to fold them into")
        return
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(state()), type=state)
    except (TypeError, msgspec.MsgspecError) as error:
        raise TypeError(f"{called}.State must be a Struct of plain fields, each with a default: {error}") from None
    if state.__struct_config__.frozen:
        raise TypeError(f"{called}.State is frozen, and folds change it")
