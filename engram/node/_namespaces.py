"""Namespaces for callers: made, listed, and ended with all that is in them."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from engram.embed import same_model
from engram.errors import Conflict, EngramError, Forbidden, NotFound
from engram.identity import namespace_id
from engram.node._checks import binding_of
from engram.store import PUBLIC, CreateOperation, DeleteOperation, Done, DropOperation, KeyOperation
from engram.wire import NamespaceDeleteResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engram.identity import Caller
    from engram.node._models import Models
    from engram.node._reads import Reads
    from engram.node._rights import Rights
    from engram.node._writing import Writer
    from engram.ports import Offload
    from engram.store import Namespace, Operation, Store
    from engram.wire import NamespaceCreate, NamespaceDelete, NamespaceInfo, NamespaceList, NamespaceListResult

    Beside = Callable[[Callable[[], Any], Caller], Awaitable[Any]]

_ENDINGS = 2000
"""Memberships, those of chunks too, and keys that one commit of a namespace's deletion ends."""


class Namespaces:
    """Of the node's loop. `beside` reads on the thread for it."""

    def __init__(
        self,
        store: Store,
        reads: Reads,
        rights: Rights,
        models: Models,
        offload: Offload,
        writer: Writer,
        beside: Beside,
    ) -> None:
        self._store = store
        self._reads = reads
        self._rights = rights
        self._models = models
        self._offload = offload
        self._writer = writer
        self._beside = beside

    async def create(self, request: NamespaceCreate, caller: Caller) -> NamespaceInfo:
        """Make one of the caller's own, or give the one that there is."""
        owner = self._rights.signer(caller)
        if request.name == PUBLIC.name:
            raise Conflict("the public namespace is always there; choose another name", field="name")
        ns = namespace_id(owner, request.name)
        embedder = await self._models.binding(request.model_version) if request.model_version else None
        model_version, dim = binding_of(request, embedder)
        there = self._store.published.namespaces.get(ns)
        if there is not None and same_model(there.model_version, model_version):
            model_version = there.model_version  # the folder or address of a model may be called otherwise since
        done = await self._writer.write_one(CreateOperation(owner, request.name, model_version, dim))
        space = self._reads.namespace(request.name, caller)
        return await self._offload.run("search", functools.partial(self._reads.info, space, done.position))

    async def list(self, request: NamespaceList, caller: Caller) -> NamespaceListResult:
        """Give those that the caller may see."""
        del request
        found: NamespaceListResult = await self._beside(self._reads.namespaces(caller), caller)
        return found

    async def delete(self, request: NamespaceDelete, caller: Caller) -> NamespaceDeleteResult:
        """Delete what is in it, a batch a commit, so that others' writes come between; then itself."""
        if request.name == PUBLIC.name:
            raise Forbidden("name: the public namespace is always there; delete its memories instead", field="name")
        try:
            space = self._reads.namespace(request.name, caller)
            return await self._end(space, self._rights.signer(caller), erase=request.erase)
        except NotFound as error:
            raise NotFound(error.message, field="name") from None

    async def _end(self, space: Namespace, signer: bytes, *, erase: bool) -> NamespaceDeleteResult:
        deleted = 0
        while True:
            look = functools.partial(self._endings, space.ns, signer, erase=erase)
            while operations := await self._offload.run("search", look):
                outcomes = await self._writer.write(operations)
                for outcome in outcomes:
                    if isinstance(outcome, EngramError) and not isinstance(outcome, NotFound):
                        raise outcome
                kept = zip(operations, outcomes, strict=True)
                deleted += sum(isinstance(done, Done) and isinstance(end, DeleteOperation) for end, done in kept)
            if erase:
                await self._erase_ended(space.ns)
            with contextlib.suppress(Conflict):  # something came into it meanwhile
                done = await self._writer.write_one(DropOperation(space.ns, signer))
                return NamespaceDeleteResult(name=space.name, records=deleted, position=done.position)

    async def _erase_ended(self, ns: bytes) -> None:
        """Have erased too what was deleted from a namespace before."""
        after = b""
        while ended := await self._offload.run("search", functools.partial(self._store.ended, ns, after, _ENDINGS)):
            for outcome in await self._writer.write([DeleteOperation(ns, digest, None, True) for digest in ended]):
                if isinstance(outcome, EngramError):
                    raise outcome
            after = ended[-1]

    def _endings(self, ns: bytes, signer: bytes, *, erase: bool) -> Sequence[Operation]:
        """Give what ends some of what lives in a namespace; nothing where nothing does."""
        members = self._store.members(ns, _ENDINGS)
        if deletes := [DeleteOperation(ns, digest, whose, erase) for digest, whose in members]:
            return deletes
        return [KeyOperation(ns, head.key, None, signer) for head in self._store.heads(ns, "", None, _ENDINGS)]
