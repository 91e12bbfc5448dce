"""The log and the bodies that a simulation leaves, by the oracle's reading, and what they must be by themselves.

Nothing is invented: each record is one that a client has put, as it put it; it is stored and deleted no more often than
was tried, and by turns. A long text is whole wherever it is named: its chunks come and go with it, in its frame.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from engram import wire
from engram.testing import _plan as plan
from engram.testing._contents import contents
from engram.testing._oracle import PUBLIC, Event, Payload, Violation, bodies_of, events_of, payload_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engram.testing._history import Call
    from engram.testing._plan import Memory


class Life(msgspec.Struct):
    """The events of one record in one namespace: positions, and whether it lives from there on."""

    positions: list[int] = []
    lives: list[bool] = []

    def at(self, size: int) -> int | None:
        """Give the position of the event by which it lives in the first `size` events; None if it does not."""
        index = bisect_left(self.positions, size) - 1
        return self.positions[index] if index >= 0 and self.lives[index] else None


class LogImage:
    """`memories`: what of those may have been erased since is known from them."""

    def __init__(self, files: Mapping[str, bytes], folder: str, memories: Sequence[Memory]) -> None:
        self._contents = contents(memories)
        self.events: list[Event] = events_of(files, f"{folder}/events")
        self.bodies = bodies_of(files, f"{folder}/bodies")
        self.size = len(self.events)
        self.spaces: dict[bytes, int] = {PUBLIC: 0}
        self.created: dict[int, int] = {0: 0}
        self.records: dict[tuple[int, str], Life] = {}
        self.payloads: dict[str, Payload] = {}
        self.chunks: dict[str, list[str]] = defaultdict(list)
        self.counts: list[tuple[int, int]] = [(0, 0)]
        """How many records lived in the first so many events, wherever, and how many of them were chunks."""
        self._lives: Counter[str] = Counter()
        for place, event in enumerate(self.events):
            if not (event.position == place):
                raise Violation(f"event {event.position} of the log stands in place {place}")
            self._take(event)
            self.counts.append(self._counted(event))

    def _take(self, event: Event) -> None:
        fields = event.fields
        if event.type == "namespace_created.1":
            name = msgspec.json.decode(self._body(fields["name"], event))["name"]
            self.spaces[fields["ns"]] = plan.SPACES.index(name)
            self.created[plan.SPACES.index(name)] = event.position
        elif event.type in ("record_stored.1", "record_deleted.1"):
            life = self.records.setdefault((self.spaces[fields["ns"]], fields["cid"]), Life([], []))
            if self._is_again(life, event):
                return
            life.positions.append(event.position)
            life.lives.append(event.type == "record_stored.1")
            if event.type == "record_stored.1" and fields["cid"] not in self.payloads:
                payload = self._payload(fields["cid"], event)
                self.payloads[fields["cid"]] = payload
                if payload.parent is not None:
                    self.chunks[payload.parent].append(fields["cid"])

    def _counted(self, event: Event) -> tuple[int, int]:
        """Give the counts behind an event: a record lives once, however many namespaces it is in."""
        records, chunks = self.counts[-1]
        if event.type not in ("record_stored.1", "record_deleted.1"):
            return records, chunks
        cid = event.fields["cid"]
        before = self._lives[cid] > 0
        if not before and event.type == "record_deleted.1":
            return records, chunks
        self._lives[cid] += 1 if event.type == "record_stored.1" else -1
        change = (self._lives[cid] > 0) - before
        return records + change, chunks + change * (self.payloads[cid].parent is not None)

    @staticmethod
    def _is_again(life: Life, event: Event) -> bool:
        """Say whether a deletion is of what was deleted before, to have it erased."""
        dead = bool(life.lives) and not life.lives[-1]
        return dead and event.type == "record_deleted.1" and event.fields["erase"]

    def _payload(self, cid: str, event: Event) -> Payload:
        """Give what a record is: its body where that stands, or else what was put, which may have been erased since."""
        body_id = bytes.fromhex(cid[4:])
        if body_id in self.bodies or cid not in self._contents:
            return payload_of(self._body(body_id, event))
        return self._contents[cid]

    def _body(self, body_id: bytes, event: Event) -> bytes:
        if body_id not in self.bodies:
            raise Violation(f"event {event.position} names the body {body_id.hex()}, which is lost")
        return self.bodies[body_id]

    def living(self, space: int, size: int) -> list[tuple[int, str]]:
        """Give (position, CID) of what lives in a namespace in the first `size` events, in order."""
        found = [(life.at(size), cid) for (its, cid), life in self.records.items() if its == space]
        return sorted((position, cid) for position, cid in found if position is not None)


def check_events(log: LogImage, calls: Sequence[Call], known: Mapping[int, Memory]) -> None:
    """Check that nothing is invented, and that a long text is whole wherever it is named. Raises `Violation`."""
    contents = {content_of(memory): memory for memory in known.values()}
    puts: Counter[tuple[int, str, str]] = Counter()
    deletes: Counter[tuple[int, str]] = Counter()
    for call in calls:
        if isinstance(call.request, wire.Put | wire.PutMany):
            puts.update(content_of(known[number]) for number in call.memories)
        elif isinstance(call.request, wire.Delete):
            deletes[space_of(call), call.request.cid] += 1
    for (space, cid), life in log.records.items():
        payload = log.payloads[cid]
        where = f"{cid} in {plan.SPACES[space]!r} (event {life.positions[0]})"
        if not (all(now != before for before, now in zip(life.lives, life.lives[1:], strict=False)) and life.lives[0]):
            raise Violation(f"{where} is stored while it lives, or deleted while it does not: {life.lives}")
        if payload.parent is not None:
            _check_chunk(log, space, cid, life, payload)
            continue
        memory = contents.get((space, payload.text or payload.vector.hex(), plain_metadata(payload)))
        if not (memory):
            raise Violation(f"{where} holds what nobody has put")
        assert memory is not None
        if not (payload.vector == memory.stored_vector()):
            raise Violation(f"{where} has another vector than was put")
        if not (life.lives.count(True) <= puts[content_of(memory)]):
            raise Violation(
                f"{where} was stored {life.lives.count(True)} times, and put {puts[content_of(memory)]} times"
            )
        if not (life.lives.count(False) <= deletes[space, cid]):
            raise Violation(f"{where} was deleted {life.lives.count(False)} times, which nobody asked for as often")
        if memory.chunks:
            _check_document(log, space, cid, memory)


def _check_chunk(log: LogImage, space: int, cid: str, life: Life, payload: Payload) -> None:
    """Check that a chunk comes and goes with its document, in one frame."""
    document = log.records.get((space, payload.parent or ""))
    if not (document):
        raise Violation(f"the chunk {cid} is of no document here")
    assert document is not None
    if not (document.lives == life.lives):
        raise Violation(f"the chunk {cid} and its document {payload.parent} part ways")
    for own, its in zip(life.positions, document.positions, strict=True):
        if not (log.events[own].frame == log.events[its].frame):
            raise Violation(f"the chunk {cid} came in a frame of its own")


def _check_document(log: LogImage, space: int, cid: str, memory: Memory) -> None:
    text = memory.text or ""
    parts = sorted(tuple(log.payloads[chunk].metadata["engram.span"]) for chunk in log.chunks[cid])
    if not (parts == memory.chunks):
        raise Violation(f"the long text {cid} has the chunks {parts}, and should {memory.chunks}")
    for chunk in log.chunks[cid]:
        start, end = log.payloads[chunk].metadata["engram.span"]
        if (space, chunk) not in log.records:
            raise Violation(f"the chunk {chunk} of {cid} is not in its namespace")
        if not (log.payloads[chunk].text == text[start:end]):
            raise Violation(f"the chunk {chunk} is not its part of the text")


def content_of(memory: Memory) -> tuple[int, str, str]:
    return memory.space, memory.text or memory.stored_vector().hex(), memory.metadata_json()


def plain_metadata(payload: Payload) -> str:
    """Give a payload's metadata without what Engram has added."""
    ours = {key: value for key, value in payload.metadata.items() if not key.startswith("engram.")}
    return msgspec.json.encode(ours, order="sorted").decode()


def space_of(call: Call) -> int:
    return plan.SPACES.index(getattr(call.request, "namespace", None) or "")
