"""One node's two histories: it tells different validators different things, or forgets what it has signed.

Every challenge of either is passed: it holds what it commits to. What condemns it is what it has signed before.
"""

from __future__ import annotations

import msgspec

from engram import events, proofs
from engram.testing._duels import VALIDATOR
from engram.testing._miners import FOLDER, Junk, Miner
from engram.wire import Receipt


def forked(seed: int, records: int = 50) -> tuple[Miner, Miner]:
    """Give a node that shows one log to some and another to others: of one key, and as long."""
    return Miner(seed, [VALIDATOR.public], records), Junk(seed, [VALIDATOR.public], records)


def evidence_of_fork(one: Miner, other: Miner) -> proofs.Evidence:
    """Give what two validators have between them: two checkpoints of one size. `DoesNotHold` where both are true."""
    first, second = (proofs.Said(checkpoint=miner.commitment().note) for miner in (one, other))
    return proofs.equivocation(one.store.key.public, first, second)


def rolled_back(seed: int, records: int = 50) -> tuple[Receipt, Miner]:
    """Give the receipt of a write, and the node that was restored from a backup made before, and written to since."""
    before = Miner(seed, [VALIDATOR.public], records)
    [done] = before.put([records])
    restored = Miner(seed, [VALIDATOR.public], records)
    restored.put([records + 1, records + 2])
    restored.store.commitment(restored.now_ns)
    assert done.receipt is not None
    return msgspec.convert(done.receipt, Receipt, from_attributes=True), restored


def evidence_of_rollback(receipt: Receipt, node: Miner) -> proofs.Evidence:
    """Give what the receipt's owner makes of it with what stands at its position now."""
    latest = node.store.proofs.latest
    assert latest is not None
    tree = events.LogTree(node.disk, FOLDER / "tree", node.store.log)
    [(_, _, event)] = node.store.log.reader(receipt.position).read(limit_events=1)
    said = proofs.Said(checkpoint=latest.note, event=event, path=tree.inclusion(receipt.position, latest.size))
    return proofs.equivocation(node.store.key.public, proofs.said_in_receipt(receipt), said, receipt.position)
