"""Proofs that a record is held, or none is; of what a key names, or that it names nothing. Formats §4, mode 3 of §5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engram import cid as cids
from engram.errors import Unprocessable
from engram.identity import head_key
from engram.native import _core
from engram.proofs._committed import Committed, check_commitment, commitment_of
from engram.proofs._errors import DoesNotHold, not_held
from engram.wire import Proof

if TYPE_CHECKING:
    from engram.events import CommittedState, TrieRoot
    from engram.native._core import TrieView

_K = 32
_HASH = 32


class Proved(msgspec.Struct, frozen=True):
    """What a proof shows. `value`: of a record H(payload), of a key the digest of what it names; None: nothing."""

    committed: CommittedState
    value: bytes | None


def prove_record(state: Committed, cid: str) -> Proof:
    """Prove that the record of this CID is held at this state, or that none is."""
    present, leaves, multiproof = _open(state.records, cids.key_of(cids.digest_of(cid)))
    return Proof(
        trie="records",
        present=present,
        commitment=commitment_of(state),
        leaves=leaves,
        multiproof=multiproof,
        cid=cid,
    )


def prove_key(state: Committed, namespace: bytes, key: str) -> Proof:
    """Prove what a key names at this state, or that it names nothing."""
    present, leaves, multiproof = _open(state.heads, head_key(namespace, key))
    return Proof(
        trie="heads",
        present=present,
        commitment=commitment_of(state),
        leaves=leaves,
        multiproof=multiproof,
        ns=namespace,
        key=key,
    )


def _open(trie: TrieView, k: bytes) -> tuple[bool, list[bytes], bytes]:
    leaves, multiproof = trie.prove_keys([k])
    return any(leaf[:_K] == k for leaf in leaves), leaves, multiproof


def check_proof(proof: Proof, node: bytes | None = None) -> Proved:
    """Verify a proof, of this node where one is given; `DoesNotHold` says what is wrong."""
    committed = check_commitment(proof.commitment, node)
    k = _wanted(proof)
    found = _find(_root(proof, committed), proof, k)
    if proof.present != (found is not None):
        said, is_ = ("present", "absent") if proof.present else ("absent", "present")
        raise DoesNotHold(f"it says {said}, and what it opens shows {is_}", field="present")
    return Proved(committed, found)


def _wanted(proof: Proof) -> bytes:
    """Give the K that a proof has to be about."""
    try:
        if proof.trie == "records" and proof.cid is not None and proof.ns is None and proof.key is None:
            return cids.key_of(cids.digest_of(proof.cid))
        if proof.trie == "heads" and proof.ns is not None and proof.key is not None and proof.cid is None:
            if len(proof.ns) != _HASH:
                raise DoesNotHold(f"ns: {len(proof.ns)} bytes, where a namespace's id has 32", field="ns")
            return head_key(proof.ns, proof.key)
    except Unprocessable as error:
        raise not_held(error) from None
    raise DoesNotHold("it is of records and has a cid, or of heads and has ns and key; this one is neither")


def _root(proof: Proof, committed: CommittedState) -> TrieRoot:
    return committed.state.records if proof.trie == "records" else committed.state.heads


def _find(trie: TrieRoot, proof: Proof, k: bytes) -> bytes | None:
    """Give what stands at K, under a root that the node has signed."""
    try:
        _core.verify_multiproof(trie.root, trie.count, proof.leaves, proof.multiproof, [k])
    except ValueError as error:
        raise DoesNotHold(f"the proof does not lead to the root of {proof.trie}: {error}", field="multiproof") from None
    return next((leaf[_K:] for leaf in proof.leaves if leaf[:_K] == k), None)
