"""The way from texts to vectors: a model, its actor, and the lane of threads on which that works."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from engram.actors import CHUNK_TEXTS, EmbedTexts
from engram.errors import EngramError
from engram.runtime import gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.actors import Model
    from engram.embed import Embedder, Split
    from engram.ports import Offload
    from engram.runtime import Ref


class Lane(msgspec.Struct, frozen=True):
    """The threads on which a model embeds, and the texts that one takes at once."""

    name: str
    threads: int
    chunk_texts: int = CHUNK_TEXTS


class Embedding:
    """Texts to vectors, through the embedder actor."""

    def __init__(self, model: Model, embedder: Ref, offload: Offload, lane: Lane, wait_for_fetch_s: float) -> None:
        """`wait_for_fetch_s`: how long a text waits for a model that is being fetched."""
        self._model = model
        self._embedder = embedder
        self._offload = offload
        self._lane = lane
        self._wait_for_fetch_s = wait_for_fetch_s

    async def ready(self) -> Embedder:
        """Give the embedder, or raise `ModelNotReady`."""
        return await self._model.ready(wait_for_fetch_s=self._wait_for_fetch_s)

    async def embed(self, texts: Sequence[str]) -> list[tuple[bytes, int] | EngramError]:
        """Give (vector, tokens) or an error for each text."""
        try:
            embedder = await self.ready()
        except EngramError as error:
            return [error] * len(texts)
        size = self._lane.chunk_texts
        chunks = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        with self._model.call() as stop:
            asks = [functools.partial(self._embedder.ask, EmbedTexts(embedder, chunk, stop)) for chunk in chunks]
            answers = await gather(asks, self._lane.threads)
        return [answer for part in answers for answer in part]

    async def split(self, texts: Sequence[str]) -> list[Split | EngramError | None]:
        """Give what each text is cut into, or an error; None for one that is short enough without a look."""
        try:
            embedder = await self.ready()
        except EngramError as error:
            return [error] * len(texts)
        whole = embedder.whole_bytes
        long = [text for text in texts if len(text.encode()) > whole]
        run = functools.partial(self._offload.run, self._lane.name)
        calls = [functools.partial(run, functools.partial(embedder.split, text)) for text in long]
        splits = dict(zip(long, await gather(calls, min(_SPLITS, self._lane.threads)), strict=True))
        return [splits.get(text) for text in texts]


_SPLITS = 2
"""Texts that are cut at a time: tokenising a large one needs memory."""
