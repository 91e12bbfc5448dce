"""The models: found or fetched, loaded, ready; each one's state, shared by its actors, their restarts, and `status`.

Models come in the background, so that a node's ports open at once. A text that comes earlier is answered with
`model_not_ready` and how far it is; vectors need no model. A model that fails never ends the node.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from engram.embed import FINGERPRINT, load_model
from engram.errors import EngramError, ModelNotReady, Unavailable
from engram.native._core import Stop
from engram.record import CANONICAL_DIM, CANONICAL_MODEL
from engram.runtime import Log
from engram.wire import ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from engram.embed import Embedder, ModelSource, ModelSpec
    from engram.ports import Clock, Offload

    OnEvent = Callable[[str, dict[str, Any]], None]

log = Log()

_LOAD_S = 5.0
"""How long a text waits for a load that is under way."""
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class Model:
    """The node's own model."""

    name: str | None = None

    def __init__(self) -> None:
        self.embedder: Embedder | None = None
        self.status = ModelStatus(
            model_version=CANONICAL_MODEL, dim=CANONICAL_DIM, state="absent", fingerprint=FINGERPRINT
        )
        self._stopping = False
        self._settled = trio.Event()
        self._calls: set[Stop] = set()

    async def prepare(
        self, source: ModelSource, folder: Path | None, offload: Offload, clock: Clock, on_event: OnEvent
    ) -> None:
        """Find or fetch the model and load it. A failure becomes the status; it never ends the node."""
        started = clock.monotonic()
        token = trio.lowlevel.current_trio_token()

        def progress(name: str, done: int, total: int) -> None:
            if self._stopping:
                raise ModelNotReady("the node is stopping")
            token.run_sync_soon(self._fetched, name, done, total, on_event)

        try:
            files = await offload.run("model", functools.partial(source.find, folder))
            if files is None:
                self._set(state="fetching", message="the embedding model is being fetched")
                files = await offload.run("model", functools.partial(source.fetch, progress))
            self._set(state="loading", message="the embedding model is being loaded")
            embedder = await offload.run("model", functools.partial(source.load, files))
        except (EngramError, OSError) as error:
            message = (
                error.message if isinstance(error, EngramError) else f"the embedding model cannot be read: {error}"
            )
            self._fail(message, on_event)
        else:
            self._succeed(embedder, clock.monotonic() - started, on_event)

    def stop(self) -> None:
        """End a fetch that is under way."""
        self._stopping = True

    def abandon(self) -> None:
        """End every call that is under way."""
        for call in self._calls:
            call.set()

    @contextlib.contextmanager
    def call(self) -> Iterator[Stop]:
        """Give the flag of one call: set when its caller gives up, or when every call is to end."""
        stop = Stop()
        self._calls.add(stop)
        try:
            yield stop
        except BaseException:
            stop.set()
            raise
        finally:
            self._calls.remove(stop)

    async def ready(self, *, wait_for_fetch_s: float) -> Embedder:
        """Give the embedder; wait for a load, which is short, and for a fetch as long as asked. `ModelNotReady`."""
        await self.settle(wait_for_fetch_s if self.status.state == "fetching" else max(wait_for_fetch_s, _LOAD_S))
        if self.embedder is None:
            raise self._not_ready()
        return self.embedder

    async def settle(self, wait_s: float) -> None:
        """Wait until it is known whether the model loads, but no longer than `wait_s`."""
        with trio.move_on_after(wait_s):
            await self._settled.wait()

    def _not_ready(self) -> ModelNotReady:
        status = self.status
        message = status.message or "the embedding model is not loaded yet"
        if status.state == "fetching" and status.total_bytes:
            message += f": {status.done_bytes / status.total_bytes:.0%} of {status.total_bytes / 1e6:.0f} MB"
        message += ". Vectors work meanwhile" if status.state != "failed" else ". Vectors work without it"
        return ModelNotReady(message, field="text", retry_after_s=None if status.state == "failed" else 2.0)

    def _succeed(self, embedder: Embedder, seconds: float, on_event: OnEvent) -> None:
        self.embedder = embedder
        self._set(
            state="ready",
            model_version=embedder.model_version,
            dim=embedder.dim,
            kernel=embedder.kernel,
            fingerprint=embedder.fingerprint,
        )
        named = {"name": self.name} if self.name else {}
        log.debug("model_ready", seconds=round(seconds, 3), kernel=embedder.kernel, **named)
        on_event("model_ready", {"seconds": seconds, "kernel": embedder.kernel, **named})
        self._settled.set()

    def _fail(self, message: str, on_event: OnEvent, state: Literal["failed", "loading"] = "failed") -> None:
        self._set(state=state, message=message)
        if self._stopping:
            return
        named = {"name": self.name} if self.name else {}
        log.warning("model_failed", **named)
        on_event("model_failed", {"message": message, **named})
        self._settled.set()

    def _fetched(self, source: str, done: int, total: int, on_event: OnEvent) -> None:
        if self.status.state == "fetching":
            message = f"the embedding model is being fetched from {source}"
            self._set(state="fetching", message=message, done_bytes=done, total_bytes=total)
            on_event("model_progress", {"source": source, "done": done, "total": total})

    def _set(self, **changes: Any) -> None:
        cleared = {"message": None, "done_bytes": 0, "total_bytes": 0}
        self.status = msgspec.structs.replace(self.status, **cleared | changes)


class ConfiguredModel(Model):
    """A model of the configuration. What it is called, and how long its vectors are, is known when it is loaded."""

    def __init__(self, name: str, spec: ModelSpec) -> None:
        super().__init__()
        self.name = name
        self._spec = spec
        self.status = ModelStatus(model_version="", dim=0, state="absent", name=name)

    async def load(self, offload: Offload, lane: str, clock: Clock, on_event: OnEvent) -> None:
        """Load the model; a server that does not answer is asked again, later and later."""
        started = clock.monotonic()
        wait_s = _FIRST_RETRY_S
        self._set(state="loading", message=f"the model {self.name} is being loaded")
        while True:
            try:
                with self.call() as stop:
                    embedder = await offload.run(lane, functools.partial(load_model, self._spec, stop))
            except Unavailable as error:
                # Still loading, so that whoever asks meanwhile is told to come again, and not that it is not run here.
                message = f"the model {self.name} cannot be loaded, and is tried again: {error.message}"
                self._fail(message, on_event, "loading")
            except (EngramError, OSError) as error:
                said = error.message if isinstance(error, EngramError) else str(error)
                self._fail(f"the model {self.name} cannot be loaded: {said}", on_event)
                return
            else:
                self._succeed(embedder, clock.monotonic() - started, on_event)
                return
            await clock.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)

    def stop(self) -> None:
        """End what is asked of a server, and close what the model holds open."""
        super().stop()
        self.abandon()
        if self.embedder is not None:
            self.embedder.close()
