"""The way of a write: look known texts up, cut long ones into chunks, embed, name, and have the store keep them.

A long text is a document and its chunks, which the store takes as one operation: see `docs/long_text.md`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from typing import TYPE_CHECKING

from engram import cid as cids
from engram import documents, record
from engram.actors import Commit
from engram.embed import CHUNK_PIECES, SPLITTER
from engram.errors import Busy, EngramError, NotFound, TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.node._checks import prepare
from engram.store import PUBLIC, Done, KeyOperation, PutOperation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engram.embed import Split
    from engram.node._checks import Prepared
    from engram.node._models import Models
    from engram.ports import Offload
    from engram.runtime import Ref
    from engram.store import Namespace, Operation, Store
    from engram.wire import Item, OnLong


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

    async def put(self, items: Sequence[Item], space: Namespace, on_long: OnLong, signer: bytes) -> list[Prepared]:
        """Keep items for `signer`; each one's `outcome` says what became of it. `Busy`: too many are on their way."""
        with self._admitted(len(items)):
            prepared = [prepare(item, space) for item in items]
            await self._look_up(prepared, space, on_long, signer)
            await self._keep(prepared, space, on_long, signer)
            if gone := [item for item in prepared if _went(item)]:
                for item in gone:
                    item.outcome = item.digest = item.operation = None
                    item.chunks = 0
                await self._keep(gone, space, on_long, signer)
        return prepared

    async def _keep(self, prepared: list[Prepared], space: Namespace, on_long: OnLong, signer: bytes) -> None:
        await self._split(prepared, space, on_long)
        await self._fill_vectors(prepared, space)
        await self._commit(prepared, space, signer)

    async def write(self, operations: Sequence[Operation]) -> list[Done | EngramError]:
        """Carry out operations durably, one outcome each."""
        return await self._store_ref.ask(Commit(list(operations)))

    async def write_one(self, operation: Operation) -> Done:
        """Carry out one operation durably; its error is raised."""
        [outcome] = await self.write([operation])
        if isinstance(outcome, EngramError):
            raise outcome
        return outcome

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

    async def _look_up(self, prepared: list[Prepared], space: Namespace, on_long: OnLong, signer: bytes) -> None:
        """Find the texts that are here already: as one record, or as a document if it may have become one."""
        texts = [item for item in prepared if item.outcome is None and item.text is not None and item.vector is None]
        if not texts:
            return

        def look_up() -> None:
            for item in texts:
                content = (item.text or "").encode()
                short = space.model_version == PUBLIC.model_version and len(content) <= CHUNK_PIECES
                forms = _document_forms(item.metadata) if on_long == "chunk" and not short else []
                hashed = hashlib.sha256(content).digest()
                for metadata in [item.metadata, *forms]:
                    found = self._store.known(space.ns, signer, hashed, metadata, space.model_version)
                    if found:
                        item.digest = found[0]
                        if (named := _named(item, space, found[0], signer)) is not None:
                            item.operation = named
                        else:
                            item.outcome = Done(found[1], created=False, frame=self._store.frame_of(found[1]))
                        if metadata is not item.metadata:  # found as a document
                            item.chunks = self._store.chunks(space.ns, item.digest)
                        break

        await self._offload.run("search", look_up)

    async def _split(self, prepared: list[Prepared], space: Namespace, on_long: OnLong) -> None:
        """Cut the texts that are too long for one record of this namespace's model."""
        wanted = _to_embed(prepared, space)
        texts = list(dict.fromkeys(item.text for item in wanted if item.text is not None))
        splits = dict(zip(texts, await self._models.split(space, texts), strict=True)) if texts else {}
        for item in wanted:
            split = splits[item.text or ""]
            if isinstance(split, EngramError):
                item.outcome = split
            elif split is not None and len(split.spans) > 1:
                item.split, item.tokens, item.chunks = split, split.tokens, len(split.spans)
                item.outcome = _too_long(split, space) if on_long == "reject" else _no_room(item.metadata, split)

    async def _fill_vectors(self, prepared: list[Prepared], space: Namespace) -> None:
        """Embed what has no vector; where a vector stands beside a text of ours, compare it with the embedding.

        Only ours are compared: of another model's vectors the bits are not the same each time.
        """
        wanted = _to_embed(prepared, space)
        texts = list(dict.fromkeys(part for item in wanted for part in item.parts))
        vectors = dict(zip(texts, await self._models.embed(space, texts), strict=True)) if texts else {}
        for item in wanted:
            self._take_vectors(item, [vectors[part] for part in item.parts], space)

    def _take_vectors(self, item: Prepared, embedded: list[tuple[bytes, int] | EngramError], space: Namespace) -> None:
        for part in embedded:
            if isinstance(part, EngramError):
                item.outcome = part
                return
            item.vectors.append(part[0])
            item.tokens = item.tokens or part[1] or None
        if item.vector is not None and item.vector != item.vectors[0]:
            of = "its first chunk" if item.split else "the text beside it"
            item.outcome = Unprocessable(
                f"vector: it is not the {space.model_version} embedding of {of}; leave it out, or use a namespace of "
                "another model",
                field="vector",
            )
        item.vector = item.vectors[0]

    async def _commit(self, prepared: list[Prepared], space: Namespace, signer: bytes) -> None:
        waiting = [item for item in prepared if item.outcome is None]
        for item in waiting:
            if item.operation is not None:
                continue  # it is there already, and only a key is to name it
            if item.split is None:
                self._encode(item, space, signer)
            else:
                encode = functools.partial(self._encode_document, item, item.split, space, signer)
                await self._offload.run("embed", encode)
        operations = [item.operation for item in waiting if item.operation is not None]
        if not operations:
            return
        outcomes = iter(await self.write(operations))
        for item in waiting:
            if item.operation is not None:
                item.outcome = next(outcomes)

    def _encode(self, item: Prepared, space: Namespace, signer: bytes) -> None:
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
        named = _named(item, space, digest, signer)
        item.operation = PutOperation(space.ns, digest, payload, signer, (), named, space.position)

    def _encode_document(self, item: Prepared, split: Split, space: Namespace, signer: bytes) -> None:
        assert item.text is not None
        metadata = documents.document_metadata(item.metadata, SPLITTER)
        digest, payload = record.encode_text(item.text, item.vectors[0], metadata, space.model_version)
        spans = [(span.start, span.end) for span in split.spans]
        places = documents.chunk_metadata(metadata, cids.from_digest(digest), spans)
        parts = zip(item.parts, item.vectors, places, strict=True)
        chunks = tuple(record.encode_text(*part, space.model_version) for part in parts)
        item.digest = digest
        named = _named(item, space, digest, signer)
        item.operation = PutOperation(space.ns, digest, payload, signer, chunks, named, space.position)


def _went(item: Prepared) -> bool:
    """Say whether an item was there when it was looked up, and had gone when a key was to name it."""
    gone = isinstance(item.outcome, NotFound) and item.outcome.field == "cid"
    return gone and isinstance(item.operation, KeyOperation)


def _named(item: Prepared, space: Namespace, digest: bytes, signer: bytes) -> KeyOperation | None:
    """Give what has a key name an item, where one is to."""
    if item.naming is None:
        return None
    return KeyOperation(space.ns, item.naming.key, digest, signer, item.naming.expect)


def _document_forms(metadata: bytes) -> list[bytes]:
    """Give what this caller's metadata is in a document: none where it has no room for that."""
    try:
        return [documents.document_metadata(metadata, SPLITTER)]
    except TooLarge:
        return []


def _to_embed(prepared: Sequence[Prepared], space: Namespace) -> list[Prepared]:
    """Give the items whose text is to be embedded: all of ours, to be compared with a vector beside it.

    Beside another model's text a vector is taken as it is: its bits are not the same each time.
    """
    ours = space.model_version == PUBLIC.model_version
    new = (item for item in prepared if item.outcome is None and item.operation is None)
    texts = (item for item in new if item.text is not None)
    return [item for item in texts if ours or item.vector is None]


def _too_long(split: Split, space: Namespace) -> TooLarge:
    if space.model_version != PUBLIC.model_version:
        return TooLarge(
            f"text: {split.tokens} tokens are more than {space.model_version} takes at once, and longer texts are to "
            'be refused (on_long "reject"); "chunk" keeps it whole and in parts',
            field="text",
        )
    special = LIMITS.text_tokens - CHUNK_PIECES
    return TooLarge(
        f"text: {split.tokens - special} word pieces are over the limit of {CHUNK_PIECES} for one record, and longer "
        'texts are to be refused (on_long "reject"); "chunk" keeps it whole and in parts',
        field="text",
    )


def _no_room(metadata: bytes, split: Split) -> TooLarge | None:
    try:
        documents.check_room(metadata, SPLITTER, [(span.start, span.end) for span in split.spans])
    except TooLarge as error:
        return error
    return None
