"""Keeping and deleting memories, one, many, or the lines of a file."""

from __future__ import annotations

import builtins
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, BinaryIO

from engram.errors import BadRequest, EngramError
from engram.sdk._async._carrier import AsyncCarrier
from engram.sdk._async._iterate import each, each_aside
from engram.sdk._items import ANY, Slot, batches, make_item, many, slots_of
from engram.sdk._lines import at_line, open_lines, read_slots
from engram.sdk._outcomes import Kept, Outcome, cid_or_error, kept, outcomes
from engram.wire import (
    Delete,
    Expect,
    Item,
    OnLong,
    Put,
    PutMany,
)

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence

    from engram.sdk._vectors import VectorLike

Metadata = dict[str, Any]


class AsyncWriting(AsyncCarrier):
    """What is kept and deleted."""

    async def ingest(
        self,
        text: str,
        metadata: Metadata | None = None,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> str:
        """Keep a text; give its CID. The same text and metadata have the same CID, and are kept once.

        A text that is too long for one record, over 254 word pieces, is kept whole and found by its chunks; with
        `on_long="reject"` it raises `TooLarge`. Without `on_long` the node's setting says which: `"chunk"` at first.
        """
        return (await self._put(make_item(text=text, metadata=metadata), namespace, model_version, on_long)).cid

    async def put(
        self,
        text: str | None = None,
        metadata: Metadata | None = None,
        *,
        vector: VectorLike | None = None,
        key: str | None = None,
        expect: Expect = ANY,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> Kept:
        """Keep a text, a vector, or both; give its CID, its tokens, and the number of chunks of a long text.

        `key`: a name that stands for this memory from now on, in place of what it stood for. `expect`: the CID that
        the key must name until now, None for none at all; where it is otherwise nothing is kept, and `Conflict` is
        raised, whose `current` is what the key names. `vector` and `on_long` as in `ingest_embedding` and `ingest`.
        """
        item = make_item(text=text, vector=vector, metadata=metadata, key=key, expect=expect)
        return await self._put(item, namespace, model_version, on_long)

    async def ingest_embedding(
        self,
        vector: VectorLike,
        metadata: Metadata | None = None,
        *,
        text: str | None = None,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> str:
        """Keep a vector, with the text it stands for if there is one; give its CID. `on_long` as in `ingest`.

        `vector` is bytes of little-endian float32, a numpy array, or numbers; each is rounded to float32.
        """
        item = make_item(text=text, vector=vector, metadata=metadata)
        return (await self._put(item, namespace, model_version, on_long)).cid

    async def ingest_embeddings(
        self,
        vectors: Iterable[VectorLike],
        metadata: Sequence[Metadata | None] | None = None,
        *,
        namespace: str | None = None,
        model_version: str | None = None,
    ) -> builtins.list[Outcome]:
        """Keep many vectors: rows of a 2-d array or a list of vectors, and a list of metadata as long.

        Gives a CID, or the error, for each row, in order.
        """
        rows = builtins.list(many(vectors, "vectors"))
        if metadata is not None and len(metadata) != len(rows):
            raise BadRequest(f"metadata: {len(metadata)} for {len(rows)} vectors", field="metadata")
        beside: Sequence[Metadata | None] = [None] * len(rows) if metadata is None else metadata
        items = ({"vector": row, "metadata": found} for row, found in zip(rows, beside, strict=True))
        return await self._ingest_all(items, namespace, model_version)

    async def ingest_many(
        self,
        items: Iterable[str | Mapping[str, Any]],
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        """Keep many memories: texts, or dicts of `text`, `vector`, `metadata`, `key` and `expect`, cut into calls.

        Gives a CID, or the error, for each item, in order; no item's error is raised. `on_long` as in `ingest`.
        """
        return await self._ingest_all(items, namespace, model_version, on_long)

    async def batch_ingest_file(
        self,
        path: str | os.PathLike[str],
        namespace: str | None = None,
        progress: Callable[[int], object] | None = None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        """Keep every line of a JSON lines file; give a CID, or the error, for each line that is not blank.

        `progress` is called with the number of lines done so far. See `iter_ingest_file`.
        """
        results = []
        async with aclosing(self.iter_ingest_file(path, namespace, on_long=on_long)) as done:
            async for _, outcome in done:
                results.append(cid_or_error(outcome))
                if progress is not None:
                    progress(len(results))
        return results

    async def iter_ingest_file(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> AsyncGenerator[tuple[int, Kept | EngramError]]:
        """Keep every line of a file, each an object as in `ingest_many`; give (line, `Kept` or error) each.

        A line that cannot be used gives an error that says why, and the file goes on; blank lines are skipped. The
        file is read as its lines are sent, so it may be of any size. A line may say its `model_version`, which must be
        the call's (`v1` without one). `on_long` as in `ingest`. Raises `NotFound` for a missing file.
        """
        numbers: deque[int] = deque()

        def slots() -> Iterator[Slot]:
            for number, slot in read_slots(file, model_version):
                numbers.append(number)
                yield slot

        with open_lines(path) as file:
            cut = each_aside(batches(slots()))
            async with aclosing(self._ingest(cut, namespace, model_version, on_long)) as done:
                async for outcome in done:
                    number = numbers.popleft()
                    yield number, at_line(number, outcome) if isinstance(outcome, EngramError) else outcome

    async def delete(self, cid: str, namespace: str | None = None, *, erase: bool = False) -> bool:
        """Delete a memory; give True. Raises `NotFound` if there is none of this CID in the namespace.

        A long text's chunks go with it; for one of them alone it raises `Unprocessable`. `erase`: overwrite its bytes
        too, also of one that was deleted before; then it gives whether they are gone, which they are not while another
        namespace or another key holds the same.
        """
        done = await self._call(Delete(cid=cid, namespace=namespace, erase=erase))
        return done.erased if erase else True

    async def _put(self, item: Item, namespace: str | None, model_version: str | None, on_long: OnLong | None) -> Kept:
        put = Put(
            text=item.text,
            vector=item.vector,
            metadata=item.metadata,
            key=item.key,
            expect=item.expect,
            namespace=namespace,
            model_version=model_version,
            on_long=on_long,
        )
        return kept(await self._call(put))

    async def _ingest_all(
        self,
        items: Iterable[object],
        namespace: str | None,
        model_version: str | None,
        on_long: OnLong | None = None,
    ) -> builtins.list[Outcome]:
        done = self._ingest(each(batches(slots_of(items))), namespace, model_version, on_long)
        async with aclosing(done):
            return [cid_or_error(outcome) async for outcome in done]

    async def _ingest(
        self,
        cut: AsyncGenerator[builtins.list[Slot]],
        namespace: str | None,
        model_version: str | None,
        on_long: OnLong | None,
    ) -> AsyncGenerator[Kept | EngramError]:
        """Send batches, several in flight; give the outcomes of their slots in order."""
        sent: deque[builtins.list[Slot]] = deque()

        async def requests() -> AsyncGenerator[PutMany]:
            async for batch in cut:
                sent.append(batch)
                if items := [slot for slot in batch if isinstance(slot, Item)]:
                    yield PutMany(items=items, namespace=namespace, model_version=model_version, on_long=on_long)

        async with aclosing(cut), aclosing(requests()) as asked, aclosing(self._call_many(asked)) as answers:
            async for answer in answers:
                while True:
                    batch = sent.popleft()
                    for outcome in outcomes(batch, answer):
                        yield outcome
                    if any(isinstance(slot, Item) for slot in batch):
                        break
        for batch in sent:
            for slot in batch:
                if isinstance(slot, EngramError):
                    yield slot
