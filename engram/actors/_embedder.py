"""The embedder actor, and the model that it needs: found or fetched, loaded, ready.

The model comes in the background, so that a node's ports open at once. A text that comes earlier is answered with
`model_not_ready` and how far the fetch is; vectors need no model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from engram.embed import FINGERPRINT, Embedder, fetch_model, find_model, load_embedder
from engram.errors import EngramError, ModelNotReady
from engram.record import CANONICAL_DIM, CANONICAL_MODEL
from engram.runtime import Actor, Log, Message, gather, handle_batch
from engram.wire import ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engram.ports import Clock, Offload

log = Log()

CHUNK_TEXTS = 8
"""Texts a message at most, so that short writes wait for few of a bulk ingest's."""


class EmbedTexts(Message[list[tuple[bytes, int] | EngramError]], frozen=True):
    """Embed up to `CHUNK_TEXTS` texts: (vector, tokens) or an error each."""

    embedder: Embedder
    texts: list[str]


class Model:
    """The embedding model's state, shared by the actor, its restarts, and `status`."""

    def __init__(self) -> None:
        self.embedder: Embedder | None = None
        self.status = ModelStatus(
            model_version=CANONICAL_MODEL, dim=CANONICAL_DIM, state="absent", fingerprint=FINGERPRINT
        )
        self._stopping = False
        self._settled = trio.Event()

    async def prepare(
        self, folder: Path | None, offload: Offload, clock: Clock, on_event: Callable[[str, dict[str, object]], None]
    ) -> None:
        """Find or fetch the model and load it. A failure becomes the status; it never ends the node."""
        started = clock.monotonic()
        token = trio.lowlevel.current_trio_token()

        def progress(source: str, done: int, total: int) -> None:
            if self._stopping:
                raise ModelNotReady("the node is stopping")
            token.run_sync_soon(self._fetched, source, done, total, on_event)

        try:
            files = await offload.run("model", functools.partial(find_model, folder))
            if files is None:
                self._set("fetching", "the embedding model is being fetched")
                files = await offload.run("model", functools.partial(fetch_model, progress))
            self._set("loading", "the embedding model is being loaded")
            embedder = await offload.run("model", functools.partial(load_embedder, files))
        except (EngramError, OSError) as error:
            message = (
                error.message if isinstance(error, EngramError) else f"the embedding model cannot be read: {error}"
            )
            self._set("failed", message)
            log.warning("model_failed")
            on_event("model_failed", {"message": message})
        else:
            self.embedder = embedder
            self._set("ready", kernel=embedder.kernel)
            seconds = clock.monotonic() - started
            log.debug("model_ready", seconds=round(seconds, 3), kernel=embedder.kernel)
            on_event("model_ready", {"seconds": seconds, "kernel": embedder.kernel})
        finally:
            self._settled.set()

    def stop(self) -> None:
        """End a fetch that is under way."""
        self._stopping = True

    async def ready(self, *, wait_for_fetch_s: float) -> Embedder:
        """Give the embedder; wait for a load, which is short, and for a fetch as long as asked. `ModelNotReady`."""
        patience = wait_for_fetch_s if self.status.state == "fetching" else max(wait_for_fetch_s, 5.0)
        with trio.move_on_after(patience):
            await self._settled.wait()
        if self.embedder is None:
            raise self._not_ready()
        return self.embedder

    def _not_ready(self) -> ModelNotReady:
        status = self.status
        message = status.message or "the embedding model is not loaded yet"
        if status.state == "fetching" and status.total_bytes:
            message += f": {status.done_bytes / status.total_bytes:.0%} of {status.total_bytes / 1e6:.0f} MB"
        message += ". Vectors work meanwhile" if status.state != "failed" else ". Vectors work without it"
        return ModelNotReady(message, field="text", retry_after_s=None if status.state == "failed" else 2.0)

    def _fetched(self, source: str, done: int, total: int, on_event: Callable[[str, dict[str, object]], None]) -> None:
        if self.status.state == "fetching":
            self._set("fetching", f"the embedding model is being fetched from {source}", done, total)
            on_event("model_progress", {"source": source, "done": done, "total": total})

    def _set(
        self, state: str, message: str | None = None, done: int = 0, total: int = 0, kernel: str | None = None
    ) -> None:
        self.status = ModelStatus(
            model_version=CANONICAL_MODEL,
            dim=CANONICAL_DIM,
            state=state,  # type: ignore[arg-type]
            message=message,
            done_bytes=done,
            total_bytes=total,
            kernel=kernel,
            fingerprint=FINGERPRINT,
        )


class EmbedderActor(Actor):
    """Embeds whatever waits, spread over the threads of one lane."""

    def __init__(self, offload: Offload, lane: str, threads: int) -> None:
        self._offload = offload
        self._lane = lane
        self._threads = threads

    @handle_batch(16)
    async def embed(self, messages: Sequence[EmbedTexts]) -> list[list[tuple[bytes, int] | EngramError]]:
        """Embed the messages' texts together; the vectors do not depend on the company."""
        calls = [functools.partial(_embed, message.embedder, message.texts) for message in messages]
        return await gather([functools.partial(self._offload.run, self._lane, call) for call in calls], self._threads)


def _embed(embedder: Embedder, texts: list[str]) -> list[tuple[bytes, int] | EngramError]:
    result = embedder.embed(texts)
    return [
        (vector, result.tokens[index]) if vector is not None else result.refusals[index]
        for index, vector in enumerate(result.vectors)
    ]
