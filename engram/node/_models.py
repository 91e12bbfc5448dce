"""The models of a node: its own and those of its configuration, and which of them embeds what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram.embed import same_model
from engram.errors import EngramError, ModelNotReady, NotFound, Unprocessable
from engram.node._checks import needs_vector
from engram.store import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engram.actors import Model
    from engram.embed import Embedder, Split
    from engram.node._embedding import Embedding
    from engram.store import Namespace
    from engram.wire import ModelStatus

_SETTLE_S = 5.0


class Served(msgspec.Struct, frozen=True):
    """A model, and its two ways: for what is kept, and for queries, which wait for no bulk ingest."""

    model: Model
    bulk: Embedding
    asking: Embedding


class Models:
    """Every model that this node runs. A namespace is served by the one whose version it is bound to."""

    def __init__(self, own: Served, configured: Iterable[Served], wait_s: float) -> None:
        """Serve by `own` and `configured`; `wait_s`: how long a text waits for models that are being loaded."""
        self.own = own
        self._configured = list(configured)
        self._wait_s = max(wait_s, _SETTLE_S)

    @property
    def statuses(self) -> list[ModelStatus]:
        """The configured models' states."""
        return [served.model.status for served in self._configured]

    async def embed(self, space: Namespace, texts: Sequence[str]) -> list[tuple[bytes, int] | EngramError]:
        """Embed texts that are to be kept in a namespace: (vector, tokens) or an error each."""
        try:
            served = await self._serving(space)
        except EngramError as error:
            return [error] * len(texts)
        return await served.bulk.embed(texts)

    async def split(self, space: Namespace, texts: Sequence[str]) -> list[Split | EngramError | None]:
        """Cut texts that are to be kept in a namespace; None for one that is short enough."""
        try:
            served = await self._serving(space)
        except EngramError as error:
            return [error] * len(texts)
        return await served.bulk.split(texts)

    async def ask(self, space: Namespace, text: str) -> bytes:
        """Give the vector to query a namespace by. Raises what keeps the text from having one."""
        served = await self._serving(space)
        [embedded] = await served.asking.embed([text])
        if isinstance(embedded, EngramError):
            raise embedded
        return embedded[0]

    async def named(self, name: str | None) -> Served:
        """Give a model by its name in the configuration or its version; None is the node's own. `NotFound`."""
        if name is None or name == PUBLIC.model_version:
            return self.own
        found = await self._find(name)
        if found is None:
            raise NotFound(f"model: this node runs no {name!r:.140}; it runs {self._known()}", field="model")
        return found

    async def binding(self, name: str) -> Embedder | None:
        """Give the embedder that a namespace of this model will have; None for a model that is not run here.

        Raises `ModelNotReady` where the model is configured and not loaded, since its version is not known then.
        """
        found = await self._find(name)
        if found is None:
            return None
        return await found.model.ready(wait_for_fetch_s=self._wait_s)

    async def _serving(self, space: Namespace) -> Served:
        if space.model_version == PUBLIC.model_version:
            return self.own
        found = await self._of_version(space.model_version)
        if found is None:
            raise self._not_served(space)
        return found

    async def _find(self, name: str) -> Served | None:
        for served in self._configured:
            if served.model.name == name:
                return served
        return await self._of_version(name)

    async def _of_version(self, version: str) -> Served | None:
        """Find the configured model of a version; which version a model has is known when it is loaded."""
        if "@" not in version:
            return None  # a name for vectors from elsewhere: no model of ours is called so
        for served in [*self._loaded(), *self._configured]:
            await served.model.settle(self._wait_s)
            if served.model.embedder is not None and same_model(served.model.embedder.model_version, version):
                return served
        return None

    def _loaded(self) -> list[Served]:
        return [served for served in self._configured if served.model.embedder is not None]

    def _not_served(self, space: Namespace) -> EngramError:
        """Say that the texts of a namespace cannot be embedded, and what of the configuration may be the cause."""
        missing = needs_vector(space)
        if not self._configured or "@" not in space.model_version:
            return missing
        if any(served.model.status.state == "loading" for served in self._configured):
            return ModelNotReady(
                f"the namespace {space.name!r} is of the model {space.model_version}, and of the models of this node "
                f"some are still being loaded: {self._known()}. Vectors work meanwhile",
                field="text",
                retry_after_s=2.0,
            )
        return Unprocessable(
            f"{missing.message}. It runs {self._known()}. A model whose files or address have changed is another: "
            "configure the one of before, or embed the texts again (engram reindex)",
            field=missing.field,
        )

    def _known(self) -> str:
        return ", ".join([PUBLIC.model_version, *(_known(served.model.status) for served in self._configured)])


def _known(status: ModelStatus) -> str:
    if status.state == "ready":
        return f"{status.name} ({status.model_version})"
    return f"{status.name} ({status.state}{': ' + status.message if status.message else ''})"
