"""Challenge a node over its RPC: connect, ask for its commitment, drive a `Challenger` to its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from engram.errors import DeadlineExceeded, EngramError, Unprocessable
from engram.events import Checkpoint, verify_consistency
from engram.proofs import T1_MS, T2_MS, Challenger, Nonce
from engram.sdk import AsyncEngramClient
from engram.wire import Slow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from engram.events import CommittedState
    from engram.identity import NodeKey
    from engram.node._challenge_config import Peer
    from engram.ports import Clock, Rng
    from engram.proofs import Judged, Transcript
    from engram.wire import Commitment, Request

    OnPart = Callable[[int, int], object]
    Known = Callable[[bytes], Awaitable[Checkpoint | None]]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: `m` records by rank, or those of `keys` (K, ascending, each once); and the time for each phase."""

    m: int = 64
    keys: Sequence[bytes] = ()
    t1_ms: int = T1_MS
    t2_ms: int = T2_MS


class Challenged(msgspec.Struct, frozen=True, kw_only=True):
    """A challenge that is over: what the node had committed to, the verdict, and all that was said."""

    commitment: Commitment
    committed: CommittedState
    challenger: Challenger
    judged: Judged
    earlier: Checkpoint | None = None
    """What it had signed before, where it does not prove that its log begins with that."""

    @property
    def chal_id(self) -> bytes:
        """The challenge's id."""
        return self.challenger.chal_id

    def transcript(self, *, keep: bool) -> Transcript:
        """Sign the verdict; `keep`: over the transcript's hash too, since it is kept."""
        return self.challenger.conclude(keep=keep)


async def _nothing(_node_key: bytes) -> None:
    """Know of no earlier checkpoint."""


async def challenge(
    peer: Peer,
    key: NodeKey,
    terms: Terms,
    clock: Clock,
    rng: Rng,
    on_part: OnPart = lambda _came, _total: None,
    known: Known = _nothing,
) -> Challenged:
    """Challenge a node, and give what became of it. `on_part(came, total)` hears of payloads as they come.

    `known` gives the largest checkpoint that a node key is known to have signed: its log must go on from there.

    Raises what keeps there from being a challenge: the node cannot be reached, or has committed to nothing sound.
    """
    patience_s = (2 * terms.t1_ms + terms.t2_ms) / 1000 + 10
    async with AsyncEngramClient(peer.url, patience_s, node_key=peer.node_key, key=key) as client:
        commitment = await client.commitment()
        challenger = Challenger(
            key,
            peer.public,
            commitment,
            Nonce(rng.bytes(32)),
            now_unix_ms=clock.now_ns() // 1_000_000,
            m=terms.m,
            keys=terms.keys,
            t1_ms=terms.t1_ms,
            t2_ms=terms.t2_ms,
        )
        await _drive(client, challenger, clock, on_part)
        committed = challenger.committed
        before = await known(committed.node_key)
        broken = before is not None and not await _goes_on(client, before, committed)
    if challenger.judged is None:
        raise Unprocessable("the challenge has no end")
    return Challenged(
        commitment=commitment,
        committed=committed,
        challenger=challenger,
        judged=challenger.judged,
        earlier=before if broken else None,
    )


async def _goes_on(client: AsyncEngramClient, before: Checkpoint, now: CommittedState) -> bool:
    """Say whether a node proves that its log goes on from an earlier checkpoint."""
    if before.size > now.size:
        return False
    try:
        path = await client.consistency(before.size, now.size)
    except EngramError:
        return False
    return verify_consistency(before.size, before.root, now.size, now.root, path)


async def _drive(client: AsyncEngramClient, challenger: Challenger, clock: Clock, on_part: OnPart) -> None:
    came = total = 0
    while (request := challenger.request) is not None:
        began = clock.monotonic()
        try:
            answer = await _asked(client, request, challenger.patience_ms / 1000)
        except EngramError as error:
            challenger.fail(error, (clock.monotonic() - began) * 1000)
            return
        challenger.take(answer, (clock.monotonic() - began) * 1000)
        total = answer.total if isinstance(answer, Slow) else total
        came += len(getattr(answer, "payloads", ()))
        if total:
            on_part(came, total)


async def _asked(client: AsyncEngramClient, request: Request[Any], patience_s: float) -> Any:
    with trio.move_on_after(patience_s):
        return await client.call(request)
    raise DeadlineExceeded(f"no answer to the {request.method} in {patience_s:g} s")
