"""Keys, and what must hold of every answer about one.

A key's history is its events. So each answer is held to the log: what was acknowledged stands there, an expectation was
true of what stood before, and a read tells what the prefix that it speaks for says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from engram import wire
from engram.errors import EngramError
from engram.testing._oracle import PUBLIC, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from engram.testing._history import Call
    from engram.testing._image import LogImage


class _Versions(msgspec.Struct):
    """What a key has named: positions, and the CID from there on; none where it was removed."""

    positions: list[int] = []
    cids: list[str | None] = []

    def at(self, size: int) -> str | None:
        """Give what it names in the first `size` events."""
        index = bisect_left(self.positions, size) - 1
        return self.cids[index] if index >= 0 else None


class Keys:
    """The keys that the log tells of."""

    def __init__(self, log: LogImage) -> None:
        self._log = log
        self._keys: dict[str, _Versions] = {}
        for event in log.events:
            if event.type == "key_set.1":
                self._take(event.position, event.fields)

    def _take(self, position: int, fields: Mapping[str, Any]) -> None:
        body = self._log.bodies.get(fields["key"])
        if body is None:
            raise Violation(f"event {position} names the patch {fields['key'].hex()}, which is lost")
        key = msgspec.json.decode(body)["key"]
        cid = fields["cid"] or None
        if fields["ns"] != PUBLIC or (cid is not None and (0, cid) not in self._log.records):
            raise Violation(f"event {position} has the key {key!r} name {cid}, which never was in its namespace")
        versions = self._keys.setdefault(key, _Versions([], []))
        if (versions.cids[-1] if versions.cids else None) == cid:
            raise Violation(f"event {position} has the key {key!r} name {cid}, which it named already")
        versions.positions.append(position)
        versions.cids.append(cid)

    def check_asked(self, calls: Sequence[Call]) -> None:
        """Check that no key names more than was asked for. Raises `Violation`."""
        asked: Counter[tuple[str, str | None]] = Counter()
        puts: Counter[str] = Counter()
        for call in calls:
            match call.request:
                case wire.KeySet(key=key, cid=cid):
                    asked[key, cid] += 1
                case wire.KeyDelete(key=key):
                    asked[key, None] += 1
                case wire.Put(key=str(key)):
                    puts[key] += 1
        for key, versions in self._keys.items():
            more = Counter(cid for cid in versions.cids)
            spare = sum(max(0, count - asked[key, cid]) for cid, count in more.items())
            if more[None] > asked[key, None] or spare > puts[key]:
                raise Violation(f"the key {key!r} has named {dict(more)}, and nobody asked for as much")

    def check(self, call: Call, window: range) -> None:
        """Check an answer, or an error, about a key. Raises `Violation`."""
        key = getattr(call.request, "key", "")
        versions = self._keys.get(key, _Versions([], []))
        match call.outcome:
            case wire.PutResult(cid=cid, position=position, created=created):
                self._check_named(call, versions, cid, window)
                frame = self._log.events[position].frame if position < self._log.size else None
                if created and frame is None:
                    raise Violation(f"{call.who} was told of an event at {position}, and there is none")
                if position in versions.positions:
                    self._check_stands(call, versions, position, cid)
            case wire.KeyResult(cid=cid, position=position, created=created):
                self._check_stands(call, versions, position, cid)
                if created and position < window.start:
                    raise Violation(f"positions go back: {position} was given after {window.start - 1} had been")
            case wire.KeyRecord(position=position, record=record):
                self._check_stands(call, versions, position, record.cid)
                self._check_named(call, versions, record.cid, window)
            case wire.HistoryResult(position=position, versions=given):
                found = [(version.position, version.cid) for version in given]
                true = [pair for pair in zip(versions.positions, versions.cids, strict=True) if pair[0] < position]
                if found[: len(true)] != true or position not in window:
                    raise Violation(f"{call.who} was told that {key!r} had named {found} at {position}; it had {true}")
            case EngramError(code="conflict", current=current):
                self._check_named(call, versions, current, window)
            case EngramError(code="not_found", field="key"):
                self._check_missing(call, versions, window)

    def _check_stands(self, call: Call, versions: _Versions, position: int, cid: str | None) -> None:
        """Check that an event says so, and that what its caller expected was true of what stood before."""
        if position not in versions.positions or versions.cids[at := versions.positions.index(position)] != cid:
            raise Violation(
                f"{call.who} was told that the event at {position} has a key name {cid}; there is {versions}"
            )
        expect = getattr(call.request, "expect", msgspec.UNSET)
        created = getattr(call.answer, "created", False)
        before = versions.cids[at - 1] if at else None
        if created and expect is not msgspec.UNSET and expect != before:
            what = f"{call.who}: a {call.request.method} was carried out at {position}"
            raise Violation(f"{what}, where the key named {before}, and it expected {expect}")

    def _check_named(self, call: Call, versions: _Versions, cid: str | None, window: range) -> None:
        if not any(versions.at(size) == cid for size in _moments(versions, window)):
            raise Violation(f"{call.who} was told that a key names {cid}, and in {window} it did not: {versions}")

    def _check_missing(self, call: Call, versions: _Versions, window: range) -> None:
        named = [versions.at(size) for size in _moments(versions, window)]
        gone = any(cid is None or self._dead(cid, window) for cid in named)
        if not gone and not isinstance(call.request, wire.History):
            raise Violation(f"{call.who}: {call.request.method} found no key, which named {named} in {window}")

    def _dead(self, cid: str, window: range) -> bool:
        life = self._log.records[0, cid]
        sizes = [window.start, *(position + 1 for position in life.positions if position + 1 in window)]
        return any(life.at(size) is None for size in sizes)


def _moments(versions: _Versions, window: range) -> list[int]:
    changes = [position + 1 for position in versions.positions if window.start < position + 1 < window.stop]
    return [window.start, *changes]
