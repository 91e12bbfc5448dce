"""What was erased is nowhere on the disk, and what was not is there, by the log alone and the oracle's reading of it.

A record is erased from when it lives nowhere and one of those who had it has ended its membership with `erase`. From
the acknowledgement on nothing of it may be found: not in its frame, which is all zeros, nor in any other file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram import wire
from engram.testing._client import NoAnswer
from engram.testing._contents import contents
from engram.testing._oracle import Event, Violation, bodies_of, erased_of, events_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engram.testing._history import Call
    from engram.testing._oracle import Payload
    from engram.testing._plan import Memory


class Holders:
    """Who holds a record, and who of those that did wants it erased."""

    def __init__(self) -> None:
        self.alive: set[tuple[bytes, bytes]] = set()
        self.wishes: set[tuple[bytes, bytes]] = set()

    @property
    def erased(self) -> bool:
        """Whether nothing may be left of it."""
        return not self.alive and bool(self.wishes)


def holders_of(events: Iterable[Event]) -> dict[str, Holders]:
    """Give who holds what behind these events, by CID."""
    found: dict[str, Holders] = {}
    for event in events:
        if event.type not in ("record_stored.1", "record_deleted.1"):
            continue
        who = event.fields["ns"], event.fields["signer"]
        of = found.setdefault(event.fields["cid"], Holders())
        if event.type == "record_stored.1":
            of.alive.add(who)
            of.wishes.discard(who)
        else:
            of.alive.discard(who)
            if event.fields["erase"]:
                of.wishes.add(who)
    return found


def erases(call: Call) -> bool:
    """Say whether a call asks for an erasure, whose event may have been there before."""
    return isinstance(call.request, wire.Delete) and call.request.erase


def check_erased(files: Mapping[str, bytes], folder: str, memories: Sequence[Memory]) -> None:
    """Check a folder that a node has opened or left. Raises `Violation`."""
    held = holders_of(events_of(files, f"{folder}/events"))
    bodies = bodies_of(files, f"{folder}/bodies")
    for body_id, data in erased_of(files, f"{folder}/bodies"):
        if any(data):
            raise Violation(f"the erased body {body_id.hex()} is not overwritten")
    known = contents(memories)
    for cid, of in held.items():
        body_id = bytes.fromhex(cid[4:])
        if not of.erased and body_id not in bodies:
            raise Violation(f"the body of {cid} is erased, {'though it lives' if of.alive else 'unasked'}")
        if of.erased and body_id in bodies:
            raise Violation(f"{cid} is erased, and its body stands")
        if of.erased:
            check_nowhere(cid, known[cid], files)


def check_acknowledged(calls: Sequence[Call], files: Mapping[str, bytes], memories: Sequence[Memory]) -> None:
    """Check that nothing that clients were told to be erased is on the disk, whatever it left. Raises `Violation`."""
    known = {memory.number: memory for memory in memories}
    puts = (wire.Put, wire.PutMany)
    for erased in calls:
        if not erases(erased) or erased.answer is None:
            continue
        [number] = erased.memories
        later = (call for call in calls if isinstance(call.request, puts) and number in call.memories)
        if not any(_may_be_later(call, erased) for call in later):
            for cid, payload in contents([known[number]]).items():
                check_nowhere(cid, payload, files)


def _may_be_later(put: Call, erased: Call) -> bool:
    return not put.ended or put.ended > erased.began or isinstance(put.outcome, NoAnswer)


def check_nowhere(cid: str, payload: Payload, files: Mapping[str, bytes]) -> None:
    """Check that no file has what this record alone has: its metadata, from the end of its vector to its text's end."""
    own = payload.vector[-8:] + f"{payload.metadata_json}{payload.model_version}{payload.text or ''}".encode()
    for path, data in files.items():
        if own in data:
            raise Violation(f"{cid} is erased, and {path} has it")
