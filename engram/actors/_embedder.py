"""The embedder actor: the texts of many callers, spread over the threads of a lane."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engram.embed import Embedder
from engram.errors import EngramError
from engram.runtime import Actor, Message, gather, handle_batch

if TYPE_CHECKING:
    from engram.native._core import Stop
    from engram.ports import Offload

CHUNK_TEXTS = 8
"""Texts a message at most, so that short writes wait for few of a bulk ingest's."""


class EmbedTexts(Message[list[tuple[bytes, int] | EngramError]], frozen=True):
    """Embed some texts: (vector, tokens) or an error each."""

    embedder: Embedder
    texts: list[str]


class EmbedderActor(Actor):
    """Embeds whatever waits, spread over the threads of one lane."""

    def __init__(self, offload: Offload, lane: str, threads: int, stop: Stop) -> None:
        """`stop`: ends what a thread is at, once nobody waits for it."""
        self._offload = offload
        self._lane = lane
        self._threads = threads
        self._stop = stop

    @handle_batch(16)
    async def embed(self, messages: Sequence[EmbedTexts]) -> list[list[tuple[bytes, int] | EngramError]]:
        """Embed the messages' texts together; the vectors do not depend on the company."""
        calls = [functools.partial(_embed, message.embedder, message.texts, self._stop) for message in messages]
        return await gather([functools.partial(self._offload.run, self._lane, call) for call in calls], self._threads)


def _embed(embedder: Embedder, texts: list[str], stop: Stop) -> list[tuple[bytes, int] | EngramError]:
    result = embedder.embed(texts, stop)
    return [
        (vector, result.tokens[index]) if vector is not None else result.refusals[index]
        for index, vector in enumerate(result.vectors)
    ]
