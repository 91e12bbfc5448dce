"""Proofs, commitments and challenges for callers: who may have which, against which checkpoint.

Theory of operation. A proof is made against a checkpoint that the node has signed. For a caller with a key one is
signed when the last one does not know of what is to be proved; for a caller without, the last one has to do: else
anybody could have the log grow by an event a call.

What stands in no namespace of the caller's is not found, as for `get`. That a memory is *not* held is shown to the
operator and the challengers alone. It says of a CID whether any namespace has it, and opens what stands beside its
place in the trie, which is another's memory.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import trio

from engram import cid as cids
from engram.actors import AnswerFast, AnswerSlow, CommitCheckpoint, GivePayloads
from engram.errors import BadRequest, NotFound, Unauthenticated, Unavailable
from engram.events import LogTree
from engram.identity import head_key
from engram.node._checks import checked_key, within
from engram.proofs import ProverLimits, commitment_of, prove_key, prove_record
from engram.wire import Consistency

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from engram.identity import Caller
    from engram.node._namespaces import Beside
    from engram.node._reads import Reads
    from engram.node._rights import Rights
    from engram.ports import Clock, Offload
    from engram.proofs import Committed
    from engram.runtime import Ref
    from engram.store import Namespace, Store
    from engram.wire import (
        Challenge,
        ChallengeAnswer,
        ChallengePayloads,
        Commitment,
        Fast,
        GetCommitment,
        GetConsistency,
        GetProof,
        Payloads,
        Proof,
        Slow,
    )

    Reach = Callable[[int], Awaitable[None]]

_LANE = "scrub"
_LONGEST_MS = ProverLimits().t1_ms


class Proving:
    """Of the node's loop. `beside` reads on the thread for it; `reach` waits until reads know of so many events."""

    def __init__(
        self,
        store: Store,
        reads: Reads,
        rights: Rights,
        clock: Clock,
        offload: Offload,
        store_ref: Ref,
        prover: Ref,
        challengers: Collection[bytes],
        beside: Beside,
        reach: Reach,
    ) -> None:
        self._store = store
        self._reads = reads
        self._rights = rights
        self._clock = clock
        self._offload = offload
        self._store_ref = store_ref
        self._prover = prover
        self._challengers = frozenset(challengers)
        self._beside = beside
        self._reach = reach
        folder = store.folder
        self._stranger = trio.Semaphore(1)
        self._tree = LogTree(folder.disk, folder.path / "tree", store.log)

    # -- proofs -------------------------------------------------------------------------------------------------------

    async def proof(self, request: GetProof, caller: Caller) -> Proof:
        """Prove that a memory is held, or what a key names; to some, that it is not, or names nothing."""
        if (request.cid is None) == (request.key is None):
            raise BadRequest("give either cid or key to be proved", field="cid")
        position = within("min_position", request.min_position, 0, 2**62)
        space = self._reads.namespace(request.namespace, caller)
        if request.cid is not None:
            return await self._record(space, request.cid, position, caller)
        return await self._key(space, checked_key(request.key or ""), position, caller)

    async def _record(self, space: Namespace, cid: str, position: int, caller: Caller) -> Proof:
        content = cids.content_of(cid)
        named = cids.digest_of(cid) if content is None else None

        def look() -> tuple[bytes | None, int | None]:
            digest = named or next(iter(self._store.with_content(space.ns, content or b"", 1)), None)
            if digest is None or self._store.get(space.ns, digest) is None:
                return digest, None
            return digest, self._store.lives_since(space.ns, digest)

        digest, since = await self._beside(look, caller)
        if digest is None or (since is None and not self._sees_absence(caller)):
            raise NotFound(f"no record {cid} in this namespace", field="cid")
        k = cids.key_of(digest)

        def is_now(state: Committed) -> bool:
            return since is not None and state.size > since and state.records.find(k) is not None

        state = await self._state(caller, position, is_now)
        if not self._sees_absence(caller) and not is_now(state):
            raise _too_new("cid", state)
        return prove_record(state, cids.from_digest(digest))

    async def _key(self, space: Namespace, key: str, position: int, caller: Caller) -> Proof:
        head = await self._beside(lambda: self._store.head(space.ns, key), caller)
        if head is None and not self._sees_absence(caller):
            raise NotFound(f"no key {key!r:.80} in this namespace", field="key")
        k = head_key(space.ns, key)

        def is_now(state: Committed) -> bool:
            found = state.heads.find(k)
            return head is not None and found is not None and found[1] == head.digest

        state = await self._state(caller, position, is_now)
        if not self._sees_absence(caller) and state.heads.find(k) is None:
            raise _too_new("key", state)
        return prove_key(state, space.ns, key)

    async def _state(self, caller: Caller, position: int, is_now: Callable[[Committed], bool]) -> Committed:
        """Give the state to prove against: the last, unless it is older than asked for, or says what is no more so."""
        latest = self._store.proofs.latest
        if latest is not None and latest.size >= position and is_now(latest):
            return latest
        if latest is None or self._rights.key_of(caller) is not None:
            await self._reach(position)
            return await self._signed(max(position, self._reads.position) - 1)
        if latest.size < position:
            raise Unavailable(
                f"the last checkpoint is of {latest.size} events, and the call asks for {position} (min_position): "
                "prove a key, and one is signed for you",
                field="min_position",
            )
        return latest

    async def _signed(self, position: int) -> Committed:
        """Give a state that knows of the event at a position; signed now, if need be.

        What that needs is loaded elsewhere than on the writer's thread: no write waits for it.
        """
        with trio.CancelScope(shield=True):  # the folder must not be closed under it
            await self._offload.run(_LANE, self._store.prepare_commitment)
        return await self._store_ref.ask(CommitCheckpoint(position))

    # -- the log ------------------------------------------------------------------------------------------------------

    async def consistency(self, request: GetConsistency, caller: Caller) -> Consistency:
        """Prove to anyone that the log of one size begins with that of another: it says nothing of its events."""
        first = within("first", request.first, 0, 2**62)
        second = within("second", request.second, first, 2**62)
        try:
            await self._reach(second)
        except Unavailable as error:
            raise Unavailable(f"second: {error.message.replace(' (min_position)', '')}", field="second") from None
        if caller.operator:
            return await self._consistent(first, second)
        async with self._stranger:  # the first of all reads the whole log
            return await self._consistent(first, second)

    async def _consistent(self, first: int, second: int) -> Consistency:
        with trio.CancelScope(shield=True):  # the folder must not be closed under it
            path = await self._offload.run(_LANE, functools.partial(self._tree.consistency, first, second))
        return Consistency(path=path)

    # -- challenges ---------------------------------------------------------------------------------------------------

    async def commitment(self, request: GetCommitment, caller: Caller) -> Commitment:
        """Give the youngest commitment that can be challenged; a challenger's call has one signed where that is due."""
        del request
        proofs, now_ns = self._store.proofs, self._clock.now_ns()
        latest: Committed | None = proofs.latest
        if latest is None or (self._sees_absence(caller) and proofs.is_due(now_ns)):
            latest = await self._signed(self._reads.position - 1)
        challengeable = self._store.proofs.challengeable(now_ns)
        return commitment_of(challengeable[0] if challengeable else latest)

    async def challenge(self, request: Challenge, caller: Caller) -> Fast:
        """Answer phase A, in the time that the challenge gives it."""
        if not caller.operator and caller.key != request.validator:
            raise Unauthenticated(
                "validator: who challenges proves that very key, after `hello` on engram://", field="validator"
            )
        t1_ms = request.t1_ms if 1 <= request.t1_ms <= _LONGEST_MS else _LONGEST_MS
        return await self._prover.ask(AnswerFast(request), deadline=trio.current_time() + t1_ms / 1000)

    async def answer(self, request: ChallengeAnswer, caller: Caller) -> Slow:
        """Answer phase B, to who has had phase A."""
        return await self._prover.ask(AnswerSlow(request.chal_id, _asker(caller)))

    async def payloads(self, request: ChallengePayloads, caller: Caller) -> Payloads:
        """Give further payloads of phase B."""
        return await self._prover.ask(GivePayloads(request.chal_id, request.start, _asker(caller)))

    def _sees_absence(self, caller: Caller) -> bool:
        return caller.operator or caller.key in self._challengers


def _asker(caller: Caller) -> bytes | None:
    """Give the key that asks for phase B; None for the operator. Who has no key is nobody's validator."""
    return None if caller.operator else caller.key or b""


def _too_new(field: str, state: Committed) -> Unavailable:
    return Unavailable(
        f"{field}: it is newer than the last checkpoint, which is of {state.size} events: prove a key, and one is "
        "signed for you",
        field=field,
    )
