"""Asking the tally while the node lives, and what must hold of an actor that follows the log, whatever crashes.

- every ask has one outcome: an answer, or an error that fits it; none waits for ever, none is begun after its deadline
- an answer is the oracle's image of the log at the position that it speaks for, which is of no earlier time
- what waits survives a crash of the actor; its mailbox never holds more than its limit
- every deletion is reacted to at least once, in order, and only what is in the log
- its files in `projections/` may be lost or damaged at any time: they are worked out again
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import trio

from engram.errors import Busy, DeadlineExceeded, EngramError, Internal, Unavailable
from engram.node import ActorSpec
from engram.testing._checks import claimed
from engram.testing._losses import LoseAll
from engram.testing._machine import DATA
from engram.testing._oracle import Violation
from engram.testing._rng import stream
from engram.testing._tally import MAILBOX, Book, Look, LookTogether, Seen, plugins_of

if TYPE_CHECKING:
    from engram.runtime import Ref
    from engram.testing._disk import SimDisk
    from engram.testing._history import History
    from engram.testing._image import LogImage

_PAUSE_S = 0.15
_BURSTS = (1, 1, 1, 1, 2, 5, 16)
_PATIENCE_S = 300.0
_POISONED = 0.05
_TOLD = 0.2
_FLIPPED = 0.25
_SLACK_S = 0.01


class _Ask(msgspec.Struct):
    message: Look
    deadline: float
    known: int
    """The least size that the log had when it was sent."""
    life: int
    sent: float
    told: bool = False
    """Nobody waits for the answer."""
    outcome: Seen | EngramError | None = None
    ended: float = 0.0


class Asking:
    """The askers of one simulation."""

    def __init__(self, seed: int, history: History) -> None:
        self._seed = seed
        self._history = history
        self._rng = stream(seed, "asking")
        self._asks: list[_Ask] = []
        self._life = 0
        self.book = Book(stream(seed, "tally"))

    def actors(self) -> dict[str, ActorSpec]:
        """Give the plug-ins for the node's configuration."""
        return {name: ActorSpec(place=kind) for name, kind in plugins_of(self.book).items()}

    def begin_life(self, life: int, disk: SimDisk) -> None:
        """Begin a life of the node; now and then one of the plug-in's files is damaged before."""
        self._life = life
        self.book.begin_life()
        durable = disk.image(LoseAll()).files()
        small = {
            path: data
            for path, data in disk.files().items()
            if path.startswith(f"{DATA}/projections/") and data and durable.get(path) == data
        }
        if small and self._rng.random() < _FLIPPED:
            path = self._rng.choice(sorted(small))
            offset = self._rng.randrange(len(small[path]))
            disk.flip(path, offset, self._rng.randrange(8))
            self._history.note("machine", f"a bit of byte {offset} of {path} flips")

    async def ask_around(self) -> None:
        """Ask, alone and in bursts, until this is cancelled."""
        await self.book.open.wait()
        ref = self.book.ref
        assert ref is not None
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._rng.expovariate(1 / _PAUSE_S))
                for _ in range(self._rng.choice(_BURSTS)):
                    nursery.start_soon(self._ask, ref)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                if ref.waiting > MAILBOX:
                    raise Violation(f"{ref.waiting} messages wait for the tally, whose limit is {MAILBOX}")
                self._raise_wrong()

    async def _ask(self, ref: Ref) -> None:
        ask = self._next()
        self._asks.append(ask)
        if self._rng.random() < _TOLD:
            self._tell(ref, ask)
            return
        try:
            with trio.fail_after(_PATIENCE_S):
                ask.outcome = await ref.ask(ask.message, deadline=ask.deadline)
        except EngramError as error:
            ask.outcome = error
        except trio.TooSlowError:
            raise Violation(f"ask {ask.message.number} of the tally is never answered") from None
        ask.ended = trio.current_time()

    def _tell(self, ref: Ref, ask: _Ask) -> None:
        """Send it without waiting: nobody is there to give it up at its deadline but the mailbox."""
        try:
            ref.try_tell(ask.message, deadline=ask.deadline)
            ask.told = True
        except EngramError as error:
            ask.outcome, ask.ended = error, trio.current_time()

    def _next(self) -> _Ask:
        rng, book, number = self._rng, self.book, len(self._asks)
        deadline = trio.current_time() + rng.random() * 0.1 if rng.random() < 0.3 else math.inf
        poison = book.may_poison() and rng.random() < _POISONED
        if poison:
            book.poisoned()
        kind = rng.choice([Look, LookTogether])
        message = kind(number, deadline, rng.choice([0.0, 0.0, 0.01, 0.04]), poison)
        assert book.tail is not None
        known = max([book.tail.size, *map(claimed, self._history.calls)])
        return _Ask(message, deadline, known, self._life, trio.current_time())

    async def caught_up(self) -> None:
        """Wait until the tally has reacted to all that is in the log. Raises `Violation` where it stands still."""
        book = self.book
        await book.open.wait()
        assert book.tail is not None
        size = book.tail.size
        with trio.move_on_after(_PATIENCE_S):
            while book.feed is None or min(book.feed.reacted or 0, book.feed.applied or 0) < size:  # noqa: ASYNC110
                await trio.sleep(0.05)
            return
        raise Violation(f"the tally stands still before event {size}")

    async def end_life(self, *, stopped: bool) -> None:
        """Check the asks of a life. `stopped`: in peace, so that every one has its outcome."""
        if not stopped:
            return
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        for ask in self._asks:
            number = ask.message.number
            if ask.life != self._life:
                continue
            if ask.told and ask.deadline == math.inf and number not in self.book.begun:
                raise Violation(f"message {number} was accepted by the tally, and never handled")
            if ask.outcome is None and not ask.told:
                raise Violation(f"the node was stopped, and ask {number} of the tally was never answered")
            waited = ask.ended > ask.sent and number not in self.book.begun
            if isinstance(ask.outcome, Unavailable) and waited:
                raise Violation(f"ask {number} waited for the tally, and was dropped: {ask.outcome.message}")

    def check(self, log: LogImage) -> None:
        """Check every answer, and every reaction, against the log that is left."""
        self._raise_wrong()
        for ask in self._asks:
            _check(ask, log)
        wanted = {event.position: event.fields["cid"] for event in log.events if event.type == "record_deleted.1"}
        for position, cid in self.book.reacted:
            if wanted.get(position) != cid:
                raise Violation(f"the tally reacted to a deletion of {cid} at {position}, which the log does not hold")
        missed = sorted(wanted.keys() - {position for position, _ in self.book.reacted})
        if missed:
            raise Violation(f"the tally never reacted to the deletions at {missed[:5]}")

    def _raise_wrong(self) -> None:
        if self.book.wrong:
            raise Violation(self.book.wrong[0])


def _check(ask: _Ask, log: LogImage) -> None:
    number, outcome = ask.message.number, ask.outcome
    match outcome:
        case Seen() if ask.message.poison:
            raise Violation(f"ask {number} crashes whoever handles it, and was answered")
        case Seen(position=position, cids=cids):
            if position < ask.known:
                raise Violation(f"ask {number} was told of {position} events, when {ask.known} were known")
            living = {
                ns.hex(): sorted(cid for _, cid in log.living(space, position)) for ns, space in log.spaces.items()
            }
            if cids != {ns: found for ns, found in living.items() if found}:
                raise Violation(f"ask {number}: the tally's state at {position} is not the fold of the log")
        case Internal() if not ask.message.poison:
            raise Violation(f"ask {number} was answered: {outcome.message}")
        case DeadlineExceeded() if abs(ask.ended - ask.deadline) > _SLACK_S:
            raise Violation(f"ask {number} ended {ask.ended - ask.deadline:.3f} s after its deadline")
        case EngramError() if not isinstance(outcome, Busy | Unavailable | DeadlineExceeded | Internal):
            raise Violation(f"ask {number} was answered {outcome.code}: {outcome.message}")
