"""The embedder actor: the texts of many callers, spread over the threads of a lane."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engram.embed import Embedder
from engram.errors import EngramError, Unavailable
from engram.native._core import Stop
from engram.runtime import Actor, Message, gather, handle_batch

if TYPE_CHECKING:
    from engram.ports import Offload

CHUNK_TEXTS = 8
"""Texts a message at most, so that short writes wait for few of a bulk ingest's."""


class EmbedTexts(Message[list[tuple[bytes, int] | EngramError]], frozen=True):
    """Embed some texts: (vector, tokens) or an error each."""

    embedder: Embedder
    texts: list[str]
    stop: Stop
    """Set once nobody waits for them."""


class EmbedderActor(Actor):
    """Embeds whatever waits, spread over the threads of one lane."""

    def __init__(self, offload: Offload, lane: str, threads: int) -> None:
        self._offload = offload
        self._lane = lane
        self.threads = threads

    @handle_batch("threads", repeatable=True)
    async def embed(self, messages: Sequence[EmbedTexts]) -> list[list[tuple[bytes, int] | EngramError]]:
        """Embed a message a thread: more would wait for one another. The vectors do not depend on the company."""
        calls = [functools.partial(self._offload.run, self._lane, functools.partial(_embed, each)) for each in messages]
        return await gather(calls, self.threads)


def _embed(message: EmbedTexts) -> list[tuple[bytes, int] | EngramError]:
    try:
        result = message.embedder.embed(message.texts, message.stop)
    except Unavailable as error:  # its caller gave up, and the other messages' have not
        return [error] * len(message.texts)
    return [
        (vector, result.tokens[index]) if vector is not None else result.refusals[index]
        for index, vector in enumerate(result.vectors)
    ]
