"""Receipts: that a node has signed for a write. Formats §3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram import events
from engram.errors import LogCorrupt, Unprocessable
from engram.proofs._errors import DoesNotHold, not_held

if TYPE_CHECKING:
    from engram.events import AnyEvent, Unknown
    from engram.wire import Receipt


def check_receipt(receipt: Receipt, node: bytes) -> AnyEvent | Unknown:
    """Verify a receipt under the node's key, and give the event that it is for; `DoesNotHold` says what is wrong."""
    try:
        events.verify_receipt(
            receipt.event,
            receipt.position,
            receipt.size,
            receipt.root,
            receipt.time_unix_ns,
            receipt.path,
            receipt.signature,
            node,
        )
        return events.decode(receipt.event)
    except Unprocessable as error:
        raise not_held(error) from None
    except LogCorrupt as error:
        raise DoesNotHold(error.message, field="event") from None
