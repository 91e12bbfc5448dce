"""Work in the background, a piece a message: whoever asks an actor for the next, as soon as it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import EngramError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.ports import Clock
    from engram.runtime import Message, Ref

_AGAIN_S = 60.0


async def keep_asking(actor: Ref, message: Callable[[], Message[float]], clock: Clock) -> None:
    """Have an actor do one more piece, for as long as it is there; it answers in how many seconds to ask again."""
    while True:
        try:
            wait = await actor.ask(message())
        except EngramError:
            wait = _AGAIN_S  # it crashed, and is started again; where the node ends, so does this
        await clock.sleep(wait)
