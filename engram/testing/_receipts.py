"""The receipts that clients were given, each held against the log that is left, by code that shares none with the node.

Formats §3 and §9; RFC 9162 §2.1.3.2. A receipt is what a client has in its hand when the node denies its write: its
event stands at its position, its size, root and time are those of the frame that this is in, its path leads from the
one to the other, and its signature is the node key's.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from engram import wire
from engram.testing._erasing import erases
from engram.testing._oracle import Violation, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engram.testing._history import Call


class Receipts:
    """Judges receipts by the log in a folder."""

    def __init__(self, files: Mapping[str, bytes], folder: str) -> None:
        frames = frames_of(files, f"{folder}/events")
        self._frames = {frame.first + n: frame for frame in frames for n in range(len(frame.events))}
        first = self._frames[0].events[0]
        self._key = Ed25519PublicKey.from_public_bytes(msgspec.msgpack.decode(first)["node_key"])
        self._signed: set[tuple[bytes, bytes]] = set()

    def check(self, receipt: wire.Receipt, who: str) -> dict[str, object]:
        """Check a receipt; give its event. Raises `Violation`."""
        frame = self._frames.get(receipt.position)
        if frame is None or frame.events[receipt.position - frame.first] != receipt.event:
            raise Violation(f"{who} has a receipt for event {receipt.position}, and another event stands there")
        if (receipt.size, receipt.root, receipt.time_unix_ns) != (frame.size, frame.root, frame.time_unix_ns):
            raise Violation(
                f"{who} has a receipt for event {receipt.position} of another frame: of {receipt.size} events, and its "
                f"own ends at {frame.size}"
            )
        if _root_of(receipt) != receipt.root:
            raise Violation(f"{who} has a receipt for event {receipt.position} whose path does not lead to its root")
        self._check_signature(receipt, who)
        event: dict[str, object] = msgspec.msgpack.decode(receipt.event)
        return event

    def _check_signature(self, receipt: wire.Receipt, who: str) -> None:
        message = b"engram/receipt/1\n" + struct.pack(">Q32sQ", receipt.size, receipt.root, receipt.time_unix_ns)
        if (message, receipt.signature) in self._signed:
            return
        try:
            self._key.verify(receipt.signature, message)
        except InvalidSignature:
            raise Violation(f"{who} has a receipt for event {receipt.position} that the node did not sign") from None
        self._signed.add((message, receipt.signature))


def check_receipts(calls: Sequence[Call], files: Mapping[str, bytes], folder: str) -> int:
    """Check that who wrote has a receipt, and that it holds; give how many there are. Raises `Violation`."""
    receipts = Receipts(files, folder)
    found = 0
    for call in calls:
        for position, cid, created, receipt in _written(call):
            if receipt is None:
                if created:
                    raise Violation(f"{call.who} was told that {cid} is written, and has no receipt for it")
                continue
            found += 1
            event = receipts.check(receipt, call.who)
            if position not in (None, receipt.position):
                raise Violation(f"{call.who} was told of event {position}, and has a receipt for {receipt.position}")
            if (cid or "") != event.get("cid"):
                raise Violation(f"{call.who} has a receipt for {event}, and wrote {cid}")
    return found


def _written(call: Call) -> Iterator[tuple[int | None, str | None, bool, wire.Receipt | None]]:
    """Give what an answer says was written: position, CID, whether it is new, the receipt."""
    match call.answer:
        case wire.PutResult() | wire.KeyResult() as done:
            yield done.position, done.cid, done.created, done.receipt
        case wire.DeleteResult() as done:
            yield done.position, done.cid, not erases(call), done.receipt
        case wire.PutManyResult() as done:
            for item in done.items:
                if item.error is None:
                    yield None, item.cid, item.created, item.receipt


def _root_of(receipt: wire.Receipt) -> bytes | None:
    """Follow the path from the event's leaf; None where it has too many hashes or too few."""
    at, last = receipt.position, receipt.size - 1
    found = hashlib.sha256(b"\0" + receipt.event).digest()
    for sibling in receipt.path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = hashlib.sha256(b"\1" + sibling + found).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + sibling).digest()
        at, last = at >> 1, last >> 1
    return found if last == 0 else None
