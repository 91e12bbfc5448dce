"""A folder from a stranger: sound frames, right roots, good checksums, and whatever a forger puts into them."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path

import golden
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engram import cid as cids
from engram import events, identity, record
from engram.errors import EngramError
from engram.native import _core
from engram.runtime import ReadOnlyDisk, RealDisk, RealRng, RealTables
from engram.store import AuditOrder, AuditReport, Store, audit

KEY = bytes(range(32))
NODE = identity.NodeKey(KEY)
CREATED = events.LogCreated(format=1, node_key=NODE.public)
PAYLOADS = [bytes.fromhex(case["payload_hex"]) for case in golden.FORMATS["payload"]["accepted"]]
PATCHES = [
    b'{"name":"n"}',
    b'{"key":"k"}',
    b"{}",
    b'{"name":7}',
    b'{"key":null}',
    b'{"name":"n","key":"k"}',
    b"[1]",
    b"\xff",
]
BODIES = [(0, record.decode(payload).digest, payload) for payload in PAYLOADS]
BODIES += [(1, hashlib.sha256(patch).digest(), patch) for patch in PATCHES]

OWN_NS = identity.namespace_id(NODE.public, "n")
ids = st.sampled_from(
    [bytes(32), b"\xff" * 32, NODE.public, OWN_NS, b"", b"x", b"x" * 33, *(body_id for _, body_id, _ in BODIES)]
)
hashes = st.sampled_from([hashlib.sha256(payload).digest() for payload in PAYLOADS] + [bytes(32), b""])
numbers = st.sampled_from([0, 1, 4, 384, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
names = st.sampled_from(
    [
        *(cids.from_digest(digest) for kind, digest, _ in BODIES if kind == 0),
        "",
        "v1::",
        "x",
        "v1::" + "0" * 64,
        "\0",
        "é",
    ]
)
maybe = st.one_of(st.none(), ids)
forged = st.one_of(
    st.builds(events.LogCreated, format=numbers, node_key=ids),
    st.builds(events.NamespaceCreated, ns=ids, owner=ids, model_version=names, dim=numbers, name=ids),
    st.builds(events.RecordStored, ns=ids, cid=names, payload=hashes, signer=ids, issued_unix_ms=numbers, signature=maybe),
    st.builds(events.RecordDeleted, ns=ids, cid=names, signer=ids, issued_unix_ms=numbers, erase=st.booleans(), signature=maybe),
    st.builds(events.KeySet, ns=ids, k=ids, cid=names, key=ids, signer=ids, issued_unix_ms=numbers, expect=maybe, signature=maybe),
    st.builds(events.NamespaceDeleted, ns=ids, signer=ids, issued_unix_ms=numbers),
    st.builds(events.RecallMeasured, ns=ids, mode=names, queries=numbers, expected=numbers, found=numbers, widening=numbers),
    st.builds(
        events.StateCommitted,
        records=st.builds(events.TrieRoot, ids, numbers),
        edges=st.builds(events.TrieRoot, ids, numbers),
        heads=st.builds(events.TrieRoot, ids, numbers),
        block=st.one_of(st.none(), numbers),
    ),
    st.builds(
        events.ChallengeJudged, chal_id=ids, miner=ids, netuid=numbers, epoch=numbers, mode=numbers, m=numbers,
        verdict=numbers, a_ms=numbers, b_ms=numbers, secret=ids, evidence=ids, signature=ids,
    ),
)  # fmt: skip


def forge(folder: Path, said: list[events.Event], bodies: list[tuple[int, bytes, bytes]]) -> None:
    """Write a folder whose log says this, every frame sound."""
    for name in ("events", "bodies", "keys"):
        (folder / name).mkdir(parents=True)
    (folder / "FORMAT").write_bytes(b'{"format": 1, "writer": "a forger"}\n')
    (folder / "keys" / "node.key").write_bytes(KEY)
    state = _core.LogState()
    frames = [state.encode(number + 1, [events.encode(event)]) for number, event in enumerate((CREATED, *said))]
    (folder / "events" / f"{0:020}.log").write_bytes(b"".join(frames))
    written = b"".join(_core.encode_body(*body) for body in bodies)
    (folder / "bodies" / f"{0:020}.seg").write_bytes(written)


def opened(folder: Path) -> None:
    store = Store.open(RealDisk(), RealTables(), folder, RealRng(), 2**62, "test")
    try:
        store.checkpoint(2**62)
    finally:
        store.close(2**62)


def audited(folder: Path) -> AuditReport:
    with tempfile.TemporaryDirectory() as scratch:
        order = AuditOrder(path=folder, scratch=Path(scratch))
        return audit(ReadOnlyDisk(), order, lambda *_: None, lambda: None)


NAMED = events.NamespaceCreated(
    ns=OWN_NS, owner=NODE.public, model_version="m", dim=4, name=hashlib.sha256(PATCHES[3]).digest()
)
LATE = events.RecordStored(
    ns=bytes(32), cid=cids.from_digest(BODIES[0][1]), payload=hashlib.sha256(PAYLOADS[0]).digest(), signer=NODE.public,
    issued_unix_ms=2**64 - 1,
)  # fmt: skip


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck), print_blob=True)
@given(said=st.lists(forged, max_size=6), bodies=st.permutations(BODIES))
@example(said=[NAMED], bodies=BODIES)
@example(said=[LATE], bodies=BODIES)
def test_a_forged_log_opens_or_is_refused_and_an_audit_reports(said, bodies):
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        forge(folder, said, bodies)
        report = audited(folder)
        with contextlib.suppress(EngramError):
            opened(folder)
        assert report.status in {"sound", "torn", "damaged"}
