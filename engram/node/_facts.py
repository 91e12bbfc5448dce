"""The log for callers: what happened from a position on, as far as each may know of it.

Facts are pulled, so nothing is kept for a subscriber. What was read last is kept for those who follow: many wait for
the same events, and all of them find these read once. A call that finds neither these nor the place where they end
begins at the segment's start. It looks at so many events at most, whatever it asks for, and says where to go on.
"""

from __future__ import annotations

import difflib
import functools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from engram.errors import Unavailable, Unprocessable
from engram.events import KeySet, known_types, plain
from engram.limits import LIMITS
from engram.node._checks import within
from engram.runtime import LANE as LOG_LANE
from engram.wire import EventInfo, EventsResult

if TYPE_CHECKING:
    from engram.events import Entry, LogReader
    from engram.identity import Caller
    from engram.node._reads import Reads
    from engram.node._rights import Rights
    from engram.ports import Offload
    from engram.runtime import Tail
    from engram.store import Namespace, Store
    from engram.wire import Events

T = TypeVar("T")

_KEY_SET = KeySet.__struct_config__.tag

WAIT_S = 30.0
"""How long a call may wait for something to happen."""

_PASSED_EVENTS = 16_384
"""Events that a call looks at, at most, where few are of those that are asked for."""
_PAGE_BYTES = 1024 * 1024
_BATCH_EVENTS = 1024
_BATCH_BYTES = 256 * 1024
_KEPT = 64
"""Batches, and places in the log, that are kept for who comes next."""


class Facts:
    """Reads the log for callers. Its calls are of the node's loop; the reading is done beside, by one thread."""

    def __init__(self, store: Store, reads: Reads, rights: Rights, tail: Tail, offload: Offload) -> None:
        self._store = store
        self._reads = reads
        self._rights = rights
        self._tail = tail
        self._offload = offload
        self._ending = False
        self._batches: OrderedDict[int, list[Entry]] = OrderedDict()
        self._readers: OrderedDict[int, LogReader] = OrderedDict()

    def end(self) -> None:
        """Have nobody wait any longer, now or later: a node that stops does not do so for its followers' patience."""
        self._ending = True
        self._tail.committed()

    async def events(self, request: Events, caller: Caller) -> EventsResult:
        """Give what happened; wait for it, where nothing has and the caller says so."""
        since = within("since", request.since, 0, 2**62)
        limit = within("limit", request.limit, 1, LIMITS.events_limit)
        if not 0 <= request.wait_s <= WAIT_S:
            raise Unprocessable(f"wait_s: {request.wait_s:g} is not between 0 and {WAIT_S:g}", field="wait_s")
        space = None if request.namespace is None else self._reads.namespace(request.namespace, caller)
        asked = _Asked(_types(request.types), space, caller)
        size = self._reads.position
        if since > size:
            raise Unavailable(
                f"this node's log has {size} events, and the call asks for those from {since} on (since): is it "
                "another node, or one restored from an older backup?",
                field="since",
            )
        found: list[EventInfo] = []
        with trio.move_on_after(request.wait_s):
            while since >= self._reads.position and not self._ending:
                await self._tail.grown()
        if since < self._reads.position:
            look = functools.partial(self._look, since, limit, asked)
            with trio.CancelScope(shield=True):  # the thread goes on all the same
                found, since = await self._offload.run(LOG_LANE, look)
        return EventsResult(events=found, next=since, position=self._reads.position)

    def _look(self, since: int, limit: int, asked: _Asked) -> tuple[list[EventInfo], int]:
        """Give the next events that are asked for, and the position behind the last that was looked at."""
        found: list[EventInfo] = []
        end, last = self._reads.position, since + _PASSED_EVENTS
        size = 0
        while since < min(end, last):
            entries = self._from(since)
            for at, entry in enumerate(entries):
                if entry[0] >= end:
                    return found, since
                since = entry[0] + 1
                if (event := self._shown(entry, asked)) is not None:
                    found.append(event)
                    size += len(entry[2])
                    if len(found) == limit or size > _PAGE_BYTES:
                        _keep(self._batches, since, entries[at + 1 :])
                        return found, since
        return found, since

    def _from(self, since: int) -> list[Entry]:
        """Give the next events from a position on that is committed, one at least."""
        if not (entries := self._batches.get(since, [])):
            reader = self._readers.pop(since, None) or self._store.log.reader(since)
            entries = reader.read(_BATCH_EVENTS, _BATCH_BYTES)
            _keep(self._batches, since, entries)
            _keep(self._readers, reader.position, reader)
        return entries

    def _shown(self, entry: Entry, asked: _Asked) -> EventInfo | None:
        position, time_unix_ns, data = entry
        fields: dict[str, Any] = msgspec.msgpack.decode(data)
        event_type = fields.pop("type")
        if asked.types is not None and event_type not in asked.types:
            return None
        ns = fields.get("ns")
        space = None if ns is None else self._store.published.namespaces.get(ns)
        if asked.space is not None and (space is None or space.ns != asked.space.ns):
            return None
        if ns is not None and not self._may_know(asked.caller, space, fields):
            return None
        own = space is not None and self._rights.sees(asked.caller, space)
        return EventInfo(
            position=position,
            type=event_type,
            time_unix_ns=time_unix_ns,
            namespace=space.name if own and space is not None else None,
            cid=fields.get("cid") or None,
            key=self._store.key_of_patch(fields["key"]) if own and event_type == _KEY_SET else None,
            data=plain(fields),
        )

    def _may_know(self, caller: Caller, space: Namespace | None, fields: dict[str, Any]) -> bool:
        """Say whether a caller may know of an event in a namespace; of one that is gone its owner.

        The operator knows of all: the log is on its own disk. What others call their namespaces and keys is not told.
        """
        if caller.operator:
            return True
        if space is not None:
            return self._rights.sees(caller, space)
        owner = fields.get("owner", fields.get("signer"))  # in a namespace with an owner nobody else signs
        return owner is not None and owner == self._rights.key_of(caller)


def _keep(kept: OrderedDict[int, T], position: int, what: T) -> None:
    """Keep what was read from a position on, or up to it, and forget what was longest not kept again."""
    kept[position] = what
    kept.move_to_end(position)
    if len(kept) > _KEPT:
        kept.popitem(last=False)


class _Asked(msgspec.Struct, frozen=True):
    """What a call asks for. `types`: with their versions; None for all."""

    types: frozenset[str] | None
    space: Namespace | None
    caller: Caller


def _types(names: list[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if not names:
        raise Unprocessable("types: it is empty; give one at least, or leave it out for all", field="types")
    known = {name.partition(".")[0]: name for name in known_types()} | {name: name for name in known_types()}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name[:80], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the types are {', '.join(sorted(known_types()))}"
            raise Unprocessable(f"types: no event is of type {name!r:.80}; {hint}", field="types")
    return frozenset(known[name] for name in names)
