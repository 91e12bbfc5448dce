"""The way of a write: look known texts up, embed the rest, name them, and have the store make them durable."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from typing import TYPE_CHECKING

from engram import record
from engram.actors import CHUNK_TEXTS, Commit, EmbedTexts
from engram.errors import Busy, EngramError, Unprocessable
from engram.node._checks import prepare
from engram.runtime import gather
from engram.store import PUBLIC, Done, PutOperation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engram.actors import Model
    from engram.node._checks import Prepared
    from engram.node._models import Models
    from engram.ports import Offload
    from engram.runtime import Ref
    from engram.store import Namespace, Operation, Store
    from engram.wire import Item


class Embedding:
    """Texts to vectors, through the embedder actor."""

    def __init__(
        self, model: Model, embedder: Ref, threads: int, wait_for_fetch_s: float, chunk_texts: int = CHUNK_TEXTS
    ) -> None:
        """`wait_for_fetch_s`: how long a text waits for a model that is being fetched."""
        self._model = model
        self._embedder = embedder
        self._threads = threads
        self._wait_for_fetch_s = wait_for_fetch_s
        self._chunk_texts = chunk_texts

    async def embed(self, texts: Sequence[str]) -> list[tuple[bytes, int] | EngramError]:
        """Give (vector, tokens) or an error for each text."""
        try:
            embedder = await self._model.ready(wait_for_fetch_s=self._wait_for_fetch_s)
        except EngramError as error:
            return [error] * len(texts)
        size = self._chunk_texts
        chunks = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        asks = [functools.partial(self._embedder.ask, EmbedTexts(embedder, chunk)) for chunk in chunks]
        answers = await gather(asks, self._threads)
        return [answer for part in answers for answer in part]


class Writer:
    """Writes for every door."""

    def __init__(self, store: Store, store_ref: Ref, models: Models, offload: Offload, limit: int) -> None:
        """`limit`: memories that may be on their way at once."""
        self._store = store
        self._store_ref = store_ref
        self._models = models
        self._offload = offload
        self._limit = limit
        self.waiting = 0
        """Memories on their way to the disk."""

    async def put(self, items: Sequence[Item], space: Namespace) -> list[Prepared]:
        """Keep items; each one's `outcome` says what became of it. `Busy` where too many are on their way."""
        with self._admitted(len(items)):
            prepared = [prepare(item, space) for item in items]
            await self._look_up(prepared, space)
            await self._fill_vectors(prepared, space)
            await self._commit(prepared, space)
        return prepared

    async def write(self, operations: Sequence[Operation]) -> list[Done | EngramError]:
        """Carry out operations durably, one outcome each."""
        return await self._store_ref.ask(Commit(list(operations)))

    @contextlib.contextmanager
    def _admitted(self, items: int) -> Iterator[None]:
        if self.waiting and self.waiting + items > self._limit:
            raise Busy(
                f"{self.waiting} memories wait to be written; with {items} more the limit of {self._limit} is passed",
                retry_after_s=0.5,
            )
        self.waiting += items
        try:
            yield
        finally:
            self.waiting -= items

    async def _look_up(self, prepared: list[Prepared], space: Namespace) -> None:
        texts = [item for item in prepared if item.outcome is None and item.text is not None and item.vector is None]
        if not texts:
            return

        def look_up() -> None:
            for item in texts:
                content = hashlib.sha256((item.text or "").encode()).digest()
                found = self._store.known(space.ns, self._store.key.public, content, item.metadata, space.model_version)
                if found:
                    item.digest, item.outcome = found[0], Done(found[1], created=False)

        await self._offload.run("search", look_up)

    async def _fill_vectors(self, prepared: list[Prepared], space: Namespace) -> None:
        """Embed what has no vector; where a vector stands beside a text of ours, compare it with the embedding.

        Only ours are compared: of another model's vectors the bits are not the same each time.
        """
        ours = space.model_version == PUBLIC.model_version
        texts_here = (item for item in prepared if item.outcome is None and item.text is not None)
        wanted = [item for item in texts_here if ours or item.vector is None]
        texts = list(dict.fromkeys(item.text for item in wanted if item.text is not None))
        vectors = dict(zip(texts, await self._models.embed(space, texts), strict=True)) if texts else {}
        for item in wanted:
            assert item.text is not None
            embedded = vectors[item.text]
            if isinstance(embedded, EngramError):
                item.outcome = embedded
            elif item.vector is None:
                item.vector = embedded[0]
            elif item.vector != embedded[0]:
                item.outcome = Unprocessable(
                    f"vector: it is not the {space.model_version} embedding of the text beside it; leave it out, "
                    "or use a namespace of another model",
                    field="vector",
                )

    async def _commit(self, prepared: list[Prepared], space: Namespace) -> None:
        waiting = [item for item in prepared if item.outcome is None]
        for item in waiting:
            self._encode(item, space)
        operations = [item.operation for item in waiting if item.operation is not None]
        if not operations:
            return
        outcomes = iter(await self.write(operations))
        for item in waiting:
            if item.operation is not None:
                item.outcome = next(outcomes)

    def _encode(self, item: Prepared, space: Namespace) -> None:
        assert item.vector is not None
        try:
            if item.text is not None:
                digest, payload = record.encode_text(item.text, item.vector, item.metadata, space.model_version)
            else:
                digest, payload = record.encode_vector(item.vector, item.metadata, space.model_version)
        except EngramError as error:
            item.outcome = error
            return
        item.digest = digest
        item.operation = PutOperation(space.ns, digest, payload, self._store.key.public)
