"""Which bodies the events of a log name, so that they must stand somewhere: an erased one is named no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram import cid as cids
from engram.errors import EngramError
from engram.events import KeySet, NamespaceCreated, RecordDeleted, RecordStored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engram.events import AnyEvent, Unknown


def named_bodies(read: Callable[[], Iterable[AnyEvent | Unknown]], among: set[bytes] | None = None) -> set[bytes]:
    """Give the ids of bodies, `among` some or of all, that events name. `read` gives these from the first on."""
    named: set[bytes] = set()
    erasing: set[bytes] = set()
    for event in read():
        for body_id in names(event):
            if among is None or body_id in among:
                named.add(body_id)
        if isinstance(event, RecordDeleted) and event.erase:
            erasing.update(named.intersection(_digest(event)))
    return named - _erased(read(), erasing) if erasing else named


def names(event: AnyEvent | Unknown) -> list[bytes]:
    """Give the ids of the bodies that an event names; none where its CID can be none."""
    match event:
        case RecordStored():
            return _digest(event)
        case KeySet(key=patch) | NamespaceCreated(name=patch):
            return [patch]
    return []


def _erased(events: Iterable[AnyEvent | Unknown], digests: set[bytes]) -> set[bytes]:
    """Give those of these records that nobody holds any more, and that one of those who did wants erased."""
    alive: dict[bytes, set[tuple[bytes, bytes]]] = {digest: set() for digest in digests}
    asked: dict[bytes, set[tuple[bytes, bytes]]] = {digest: set() for digest in digests}
    for event in events:
        if not isinstance(event, RecordStored | RecordDeleted):
            continue
        who = event.ns, event.signer
        for digest in digests.intersection(_digest(event)):
            if isinstance(event, RecordStored):
                alive[digest].add(who)
                asked[digest].discard(who)
                continue
            alive[digest].discard(who)
            if event.erase:
                asked[digest].add(who)
    return {digest for digest in digests if asked[digest] and not alive[digest]}


def _digest(event: RecordStored | RecordDeleted) -> list[bytes]:
    try:
        return [cids.digest_of(event.cid)]
    except EngramError:
        return []
