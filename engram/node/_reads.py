"""The read half of the Service: every rule of a read, as plain functions over what the store has published.

Theory of operation. A read has two parts. The first looks at the request alone, and raises what is wrong with it before
anything is waited for. What it gives, a `Search` or a function, is the second: it reads the snapshot that stands then,
on whatever thread it is called. So a node runs it in its loop or on a thread beside, an embedded memory in its caller's
thread, and both by the same rules.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram import filter as filters
from engram.documents import role_of
from engram.errors import BadRequest, NotFound, TooLarge, Unprocessable
from engram.identity import OPERATOR, namespace_id, ss58
from engram.limits import LIMITS
from engram.node._challenge_v1 import challenge_v1
from engram.node._checks import checked_key, checked_text, checked_vector, hit_of, predicate, record_answer, within
from engram.node._rights import Rights
from engram.store import PUBLIC, Namespace
from engram.wire import (
    HistoryResult,
    IndexStatus,
    KeyInfo,
    KeyListResult,
    KeyRecord,
    KeyVersion,
    ListResult,
    NamespaceInfo,
    NamespaceListResult,
    QueryResult,
    Recall,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.errors import EngramError
    from engram.filter import Filter
    from engram.identity import Caller
    from engram.store import Found, Head, RecallCheck, Store, View
    from engram.wire import ChallengeV1, ChallengeV1Result, Get, History, KeyGet, KeyList, List, Query, Record

_QUICK_US = 300.0
_ANY_QUERY = struct.pack(f"<{PUBLIC.dim}f", *[1.0] * PUBLIC.dim)
_OTHERS = 100
_SPARE_IDS = 100
_PAGE_BYTES = LIMITS.message_bytes // 2


class Search(msgspec.Struct, frozen=True):
    """A query that was found to be in order. `vector`: None where `text` is to be embedded first."""

    space: Namespace
    vector: bytes | None
    text: str
    top_k: int
    tree: Filter | None
    exact: bool
    explain: bool


class Reads:
    """What a node's callers may read of a store; any thread may call."""

    def __init__(self, store: Store, recall: RecallCheck) -> None:
        self._store = store
        self._recall = recall
        self._rights = Rights(store.key.public)
        self._ids: dict[tuple[bytes | None, str], bytes] = {}
        """Of the namespaces that are here: to hash a name again costs more than to look it up."""

    @property
    def position(self) -> int:
        """How many events of the log a read sees at least."""
        return self._store.published.position

    @property
    def is_free(self) -> bool:
        """Whether who reads from the tables now would wait for nobody who reads much from them."""
        return self._store.is_free

    @property
    def failure(self) -> EngramError | None:
        """What ends the store, where its disk, its tables or its log have failed."""
        return self._store.failure

    def namespace(self, name: str | None, caller: Caller = OPERATOR) -> Namespace:
        """Give the caller's namespace of a name; None is the public one. `NotFound`, `Unprocessable`."""
        if name is None or name == PUBLIC.name:
            return PUBLIC
        owner = self._rights.key_of(caller)
        ns = self._ids.get((owner, name)) or self._id_of(owner, name)
        found = self._store.published.namespaces.get(ns) if owner is not None else None
        if found is None:
            raise NotFound(f"no namespace {name!r} here; create it first (namespace create)", field="namespace")
        if len(self._ids) > 2 * len(self._store.published.namespaces) + _SPARE_IDS:
            self._ids.clear()  # of most there is nothing any more
        self._ids[owner, name] = ns
        return found

    def _id_of(self, owner: bytes | None, name: str) -> bytes:
        try:
            return namespace_id(owner or PUBLIC.ns, name)
        except Unprocessable as error:
            message = error.message.removeprefix("name: ")
            raise Unprocessable(f"namespace: {message}", field="namespace") from None

    def query(self, request: Query, caller: Caller = OPERATOR) -> Search:
        """Look at a query; `search` carries it out."""
        space = self.namespace(request.namespace, caller)
        top_k = within("top_k", request.top_k, 1, LIMITS.top_k)
        tree = filters.parse(request.filter)
        if (request.text is None) == (request.vector is None):
            raise BadRequest("give either text or vector to query by", field="text")
        vector, text = None, ""
        if request.vector is not None:
            vector = checked_vector(request.vector, space)
        else:
            text = checked_text(request.text or "")
        return Search(space, vector, text, top_k, tree, request.exact, request.explain)

    def is_quick(self, search: Search) -> bool:
        """Say whether a search by vector is expected to take less than the way to another thread and back is worth.

        With a filter it is never said to be: how long one takes that was not asked before, nobody knows.
        """
        if search.tree is not None:
            return False
        index = self._store.published.indexes.get(search.space.ns)
        return index is None or index.expected_us(search.top_k, exact=search.exact) < _QUICK_US

    def search(self, search: Search, vector: bytes) -> QueryResult:
        """Find what a query asks for, by its vector or that of its text."""
        answer = self._store.search(
            search.space.ns,
            vector,
            search.top_k,
            search.tree,
            exact=search.exact,
            explain=search.explain,
            born=search.space.position,
        )
        steps = (
            [Step(name=step.name, rows=step.rows, us=round(step.us, 1)) for step in answer.steps]
            if search.explain
            else None
        )
        _check_sendable(answer.found)
        hits = [hit_of(found) for found in answer.found]
        return QueryResult(hits=hits, position=answer.position, mode=answer.mode, explain=steps)

    def get(self, request: Get, caller: Caller = OPERATOR) -> Callable[[], Record]:
        """Look at a request for a record; give what finds it."""
        space = self.namespace(request.namespace, caller)
        content = cids.content_of(request.cid)
        named = [cids.digest_of(request.cid)] if content is None else []

        def get() -> Record:
            before, digests = None, named or self._store.with_content(space.ns, content or b"", _OTHERS + 1)
            while digests and digests != before:
                for at, digest in enumerate(digests, 1):
                    if (view := self._store.get(space.ns, digest)) is not None:
                        chunks, vector = self._chunks(space, digest, view), request.include_vector
                        return record_answer(digest, view, chunks, include_vector=vector, others=digests[at:])
                # Deleted just now, all of them; others may have come before they went.
                before, digests = digests, named or self._store.with_content(space.ns, content or b"", _OTHERS + 1)
            raise NotFound(f"no record {request.cid} in this namespace", field="cid")

        return get

    def list(self, request: List, caller: Caller = OPERATOR) -> Callable[[], ListResult]:
        """Look at a request for a page of records; give what reads it."""
        space = self.namespace(request.namespace, caller)
        limit = within("limit", request.limit, 1, LIMITS.list_limit)
        offset = within("offset", request.offset, 0, 2**62)
        after = within("after", request.after, 0, 2**62)
        accept = predicate(request.filter)

        def browse() -> ListResult:
            position = self.position
            found, more_after = self._store.browse(
                space.ns, accept, offset, limit, chunks=request.chunks, page_bytes=_PAGE_BYTES, after=after
            )
            records = [record_answer(digest, view, self._chunks(space, digest, view)) for digest, view in found]
            more_offset = None if more_after is None else offset + len(found)
            return ListResult(records=records, position=position, next_offset=more_offset, next_after=more_after)

        return browse

    def _chunks(self, space: Namespace, digest: bytes, view: View) -> int:
        """Count a document's chunks; nothing is asked for any other record, which has none."""
        return self._store.chunks(space.ns, digest) if role_of(bytes(view.metadata)).document else 0

    def key_get(self, request: KeyGet, caller: Caller = OPERATOR) -> Callable[[], KeyRecord]:
        """Look at a request for what a key names; give what finds it."""
        space = self.namespace(request.namespace, caller)
        key = checked_key(request.key)

        def get() -> KeyRecord:
            head = self._head(space, key)
            while (view := self._store.get(space.ns, head.digest)) is None:
                now = self._head(space, key)
                if now == head:
                    cid = cids.from_digest(head.digest)
                    raise NotFound(f"the key {key!r:.80} names {cid}, which was deleted", field="key")
                head = now  # it was given another, and only then what it named went
            chunks = self._chunks(space, head.digest, view)
            found = record_answer(head.digest, view, chunks, include_vector=request.include_vector)
            return KeyRecord(key=key, position=head.position, set_unix_ms=head.issued, record=found)

        return get

    def _head(self, space: Namespace, key: str) -> Head:
        head = self._store.head(space.ns, key)
        if head is None:
            raise NotFound(f"no key {key!r:.80} in this namespace", field="key")
        return head

    def key_list(self, request: KeyList, caller: Caller = OPERATOR) -> Callable[[], KeyListResult]:
        """Look at a request for a page of keys; give what reads it."""
        space = self.namespace(request.namespace, caller)
        limit = within("limit", request.limit, 1, LIMITS.list_limit)
        prefix = checked_key(request.prefix, "prefix") if request.prefix else ""
        after = None if request.after is None else checked_key(request.after, "after")

        def browse() -> KeyListResult:
            position = self.position
            heads = self._store.heads(space.ns, prefix, after, limit + 1)
            keys = [
                KeyInfo(
                    key=head.key,
                    cid=cids.from_digest(head.digest),
                    position=head.position,
                    set_unix_ms=head.issued,
                )
                for head in heads[:limit]
            ]
            next_after = keys[-1].key if len(heads) > limit else None
            return KeyListResult(keys=keys, position=position, next_after=next_after)

        return browse

    def history(self, request: History, caller: Caller = OPERATOR) -> Callable[[], HistoryResult]:
        """Look at a request for a page of what a key has named; give what reads it."""
        space = self.namespace(request.namespace, caller)
        limit = within("limit", request.limit, 1, LIMITS.history_limit)
        # Not of a namespace that had this name before, and was deleted with all its keys.
        after = max(within("after", request.after, 0, 2**62), space.position)
        key = checked_key(request.key)

        def browse() -> HistoryResult:
            position = self.position
            found = self._store.versions(space.ns, key, after, limit + 1)
            if not found and after == space.position:
                raise NotFound(f"no key {key!r:.80} in this namespace", field="key")
            versions = [
                KeyVersion(
                    cid=cids.from_digest(version.digest) if version.digest else None,
                    position=version.position,
                    set_unix_ms=version.issued,
                    signer=ss58(version.signer),
                )
                for version in found[:limit]
            ]
            next_after = versions[-1].position if len(found) > limit else None
            return HistoryResult(versions=versions, position=position, next_after=next_after)

        return browse

    def namespaces(self, caller: Caller = OPERATOR) -> Callable[[], NamespaceListResult]:
        """Give what counts the records of every namespace of the caller's, the public one first."""
        spaces = sorted(self._store.published.namespaces.values(), key=lambda space: (space.position, space.name))
        own = [space for space in spaces if self._rights.sees(caller, space)]
        return lambda: NamespaceListResult(namespaces=[self.info(space, space.position) for space in own])

    def info(self, space: Namespace, position: int) -> NamespaceInfo:
        """Say what a namespace is bound to, and what it holds."""
        count = self._store.tally(space.ns)
        return NamespaceInfo(
            name=space.name,
            id=space.ns.hex(),
            owner=None if space.owner is None else ss58(space.owner),
            model_version=space.model_version,
            dim=space.dim,
            records=count.records,
            chunks=count.chunks,
            position=position,
        )

    def challenge_v1(self, request: ChallengeV1, caller: Caller = OPERATOR) -> Callable[[], ChallengeV1Result]:
        """Look at the first Engram's challenge; give what answers it, alike for everybody."""
        del caller
        return challenge_v1(self._store, request)

    def index_status(self) -> IndexStatus:
        """Say of the public namespace's index what it holds."""
        index = self._store.published.indexes.get(PUBLIC.ns)
        if index is None:
            return IndexStatus(rows=0)
        *sealed, (_, head_rows) = index.parts
        _, mode, *_ = index.search(_ANY_QUERY, 10)
        recall = self._measured(PUBLIC.ns)
        return IndexStatus(rows=len(index), sealed=len(sealed), head_rows=head_rows, mode=mode, recall=recall)

    def _measured(self, ns: bytes) -> Recall | None:
        latest = self._recall.latest(ns)
        if latest is None:
            return None
        return Recall(recall=latest.recall, queries=latest.queries, mode=latest.mode, widening=latest.widening)


def _check_sendable(found: list[Found]) -> None:
    """Refuse hits that no message carries, before each is copied for an answer, and that again for the wire."""
    size = sum(each.view.size - 4 * each.view.dim for each in found)
    if size > LIMITS.message_bytes:
        raise TooLarge(
            f"top_k: the {len(found)} hits have {size} bytes of texts and metadata, and an answer at most"
            f" {LIMITS.message_bytes}; ask for fewer at once",
            field="top_k",
        )
