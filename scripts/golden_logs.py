"""Make the golden logs: a small data folder for every version of every event, which must replay for ever.

    python scripts/golden_logs.py [--into tests/data/golden_logs] [--digests]

Each folder is named by the event that it is about, and holds the fewest events that lead to it, their bodies, a
commitment and a checkpoint, all of fixed keys and times: the same bytes each time. A version that no build writes any
more stays: its function here, its folder, and its line in `tests/store/test_golden_logs.py` are never removed.

Beside the folders stands `expected.json`: of each the number of events, the log's root, and the digest of the tables
that this build folds it to. What is expected of a folder that is there is not written again, but with --digests, after
the fold has come to mean something else (`FOLD_VERSION`): then the digests alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from engram import cid as cids
from engram import record
from engram.events import Checkpoint, checkpoints, segment_name
from engram.identity import (
    Hotkey,
    NodeKey,
    head_key,
    namespace_id,
    put_message,
    set_key_message,
    tombstone_message,
    verdict_message,
)
from engram.native import _core
from engram.runtime import RealDisk, RealRng, RealTables
from engram.store import PUBLIC, Store

NOW = 1_700_000_000_000_000_000
MS = NOW // 10**6
OWNER = NodeKey(bytes(range(32)))
ALICE, BOB = NodeKey(b"alice" + bytes(27)), Hotkey(b"bob" + bytes(29))
ALONE = bytes(32)
"""The network of a node of its own."""
NOTES = namespace_id(OWNER.public, "notes")
FOLDERS = Path(__file__).parents[1] / "tests" / "data" / "golden_logs"


def rows(leaves: dict[bytes, bytes]) -> bytes:
    """Leaves as a trie takes them; where bodies lie is hashed nowhere."""
    return b"".join(key + value + bytes(8) for key, value in leaves.items())


class Writer:
    """Writes one folder: events, each a frame of its own, and bodies."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        """What lives, K -> payload's hash, as each log's own function says; so too `heads`."""
        self.heads: dict[bytes, bytes] = {}
        self._state = _core.LogState()
        self._log = b""
        self._bodies: list[tuple[int, bytes, bytes]] = []
        self._checkpoints: dict[str, bytes] = {}
        self.event("log_created.1", format=1, node_key=OWNER.public)

    def event(self, kind: str, **fields: Any) -> None:
        """Append an event; one that is None is left out."""
        said = {name: value for name, value in fields.items() if value is not None}
        self._log += self._state.encode(NOW + self._state.size, [msgspec.msgpack.encode({"type": kind} | said)])

    def patch(self, **text: str) -> bytes:
        """Write a patch; give its hash."""
        data = _core.canonical(text)
        self._bodies.append((1, hashlib.sha256(data).digest(), data))
        return self._bodies[-1][1]

    def record(self, digest: bytes, payload: bytes) -> bytes:
        """Write a record's payload, which lives from now on; give its hash."""
        self._bodies.append((0, digest, payload))
        self.records[cids.key_of(digest)] = hashed = hashlib.sha256(payload).digest()
        return hashed

    def erase(self, digest: bytes) -> None:
        """Overwrite a record's payload with zeros."""
        self._bodies = [(2, key, bytes(len(data))) if key == digest else (kind, key, data)
                        for kind, key, data in self._bodies]  # fmt: skip

    def commit(self, **more: Any) -> None:
        """Commit to what lives, and sign."""
        committed = {
            name: {"root": _core.Trie(rows(leaves)).commit().root, "count": len(leaves)}
            for name, leaves in (("records", self.records), ("edges", {}), ("heads", self.heads))
        }
        self.event("state_committed.1", **committed, **more)
        signed = Checkpoint(self._state.size, self._state.root)
        self._checkpoints[checkpoints.file_name(signed.size)] = checkpoints.sign(signed, OWNER)

    def write(self, folder: Path) -> None:
        """Write the folder."""
        files = {
            "FORMAT": b'{"format": 1, "writer": "golden"}\n',
            "keys/node.key": bytes(range(32)),
            f"events/{segment_name(0)}": self._log,
            "bodies/00000000000000000000.seg": b"".join(_core.encode_body(*body) for body in self._bodies),
        } | {f"checkpoints/{name}": note for name, note in self._checkpoints.items()}
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def created(log: Writer) -> None:
    """Create the namespace that most logs use."""
    name = log.patch(name="notes")
    log.event("namespace_created.1", ns=NOTES, owner=OWNER.public, model_version="m/1", dim=4, name=name)


def stored(log: Writer, number: int, ns: bytes = NOTES, **more: Any) -> bytes:
    """Store a record, whose digest is given; in the public namespace, a text."""
    if ns == NOTES:
        vector = record.stored_vector([1.0, number, 0.5, -0.0])
        digest, payload = record.encode_vector(vector, record.canonical_metadata({"n": number}), "m/1")
    else:
        vector = record.stored_vector([float(at % 7 + number) for at in range(PUBLIC.dim)])
        meta = record.canonical_metadata({"n": number, "é": [None, 1.5]})
        digest, payload = record.encode_text(f"grün {number}", vector, meta, PUBLIC.model_version)
    hashed = log.record(digest, payload)
    who = {"signer": OWNER.public, "issued_unix_ms": MS + number} | more
    log.event("record_stored.1", ns=ns, cid=cids.from_digest(digest), payload=hashed, **who)
    return digest


def signed_puts(log: Writer) -> None:
    """Store records that who put them has signed, with either kind of key."""
    for number, key in enumerate((ALICE, BOB), 10):
        vector = record.stored_vector([float(at % 7 + number) for at in range(PUBLIC.dim)])
        digest, payload = record.encode_text(f"grün {number}", vector, b"{}", PUBLIC.model_version)
        signature = key.sign(put_message(ALONE, PUBLIC.ns, digest, MS + number))
        event = {"ns": PUBLIC.ns, "cid": cids.from_digest(digest), "payload": log.record(digest, payload)}
        log.event("record_stored.1", **event, signer=key.public, issued_unix_ms=MS + number, signature=signature)


def deleted(log: Writer, digest: bytes, *, erase: bool, key: NodeKey | Hotkey = OWNER, sign: bool = False) -> None:
    """End a membership of the namespace."""
    issued = MS + 100
    signature = key.sign(tombstone_message(ALONE, NOTES, digest, issued)) if sign else None
    said = {"ns": NOTES, "cid": cids.from_digest(digest), "signer": key.public, "issued_unix_ms": issued}
    log.event("record_deleted.1", **said, erase=erase, signature=signature)
    log.records.pop(cids.key_of(digest), None)


def named(log: Writer, key: str, digest: bytes | None, issued: int, expect: bytes | None, *, sign: bool) -> None:
    """Have a key name a record."""
    k = head_key(NOTES, key)
    message = set_key_message(ALONE, NOTES, k, digest or bytes(32), expect or bytes(32), issued)
    log.event(
        "key_set.1", ns=NOTES, K=k, cid=cids.from_digest(digest) if digest else "", key=log.patch(key=key),
        signer=OWNER.public, issued_unix_ms=issued, expect=expect, signature=OWNER.sign(message) if sign else None,
    )  # fmt: skip
    log.heads.pop(k, None)
    if digest:
        log.heads[k] = digest


# -- one log for each version of each event ---------------------------------------------------------------------------


def log_created_1(log: Writer) -> None:
    """Write nothing but the first event."""


def namespace_created_1(log: Writer) -> None:
    """Create a namespace, and one of another owner."""
    created(log)
    theirs = namespace_id(ALICE.public, "ärger")
    name = log.patch(name="ärger")
    log.event("namespace_created.1", ns=theirs, owner=ALICE.public, model_version="v1", dim=384, name=name)
    log.commit()


def record_stored_1(log: Writer) -> None:
    """Vectors, texts, signed ones, a second membership, a later time of one that lives."""
    created(log)
    stored(log, 1)
    stored(log, 2, PUBLIC.ns)
    stored(log, 1, signer=ALICE.public)
    stored(log, 1, issued_unix_ms=MS + 50)
    signed_puts(log)
    log.commit()


def record_deleted_1(log: Writer) -> None:
    """End a membership, one of two, one that never was, and one that returns."""
    created(log)
    one, two = stored(log, 1), stored(log, 2)
    stored(log, 2, signer=ALICE.public)
    three = stored(log, 3)
    hashed = log.records[cids.key_of(two)]
    deleted(log, one, erase=False)
    deleted(log, two, erase=False)
    log.records[cids.key_of(two)] = hashed  # the other one's lives
    deleted(log, hashlib.sha256(b"never put").digest(), erase=False, key=BOB, sign=True)
    deleted(log, three, erase=False, sign=True)
    stored(log, 3, issued_unix_ms=MS + 200)
    log.commit()


def record_deleted_1_erase(log: Writer) -> None:
    """Erase a record, beside one that lives."""
    created(log)
    one = stored(log, 1)
    stored(log, 2)
    deleted(log, one, erase=True)
    log.erase(one)
    log.commit()


def key_set_1(log: Writer) -> None:
    """Have a key name one record, then another where the first was expected, then none; and one stay."""
    created(log)
    one, two = stored(log, 1), stored(log, 2)
    named(log, "heim", one, MS + 10, b"\xff" * 32, sign=False)
    named(log, "bleibt", two, MS + 10, None, sign=True)
    named(log, "heim", two, MS + 20, one, sign=True)
    named(log, "heim", None, MS + 30, None, sign=False)
    log.commit()


def namespace_deleted_1(log: Writer) -> None:
    """End a namespace when its records have ended; and create it again."""
    created(log)
    deleted(log, stored(log, 1), erase=False)
    log.event("namespace_deleted.1", ns=NOTES, signer=OWNER.public, issued_unix_ms=MS + 300)
    log.commit()
    created(log)
    log.commit()


def state_committed_1(log: Writer) -> None:
    """Commit with a block and without, to nothing and to something."""
    log.commit()
    created(log)
    stored(log, 1)
    log.commit(block=4_567_890, block_hash=hashlib.sha256(b"block").digest())
    stored(log, 2)
    log.commit()


def recall_measured_1(log: Writer) -> None:
    """Say what a replay of queries has shown."""
    created(log)
    stored(log, 1)
    log.event("recall_measured.1", ns=NOTES, mode="fast", queries=32, expected=320, found=317, widening=2)
    log.commit()


def challenge_judged_1(log: Writer) -> None:
    """Judge another node."""
    evidence = hashlib.sha256(b"transcript").digest()
    chal_id = hashlib.sha256(b"challenge").digest()
    message = verdict_message(chal_id, 1, 40, 900, evidence)
    log.event(
        "challenge_judged.1", chal_id=chal_id, miner=ALICE.public, netuid=7, epoch=393_518, mode=0, m=64, verdict=1,
        a_ms=40, b_ms=900, secret=bytes(32), evidence=evidence, signature=OWNER.sign(message),
    )  # fmt: skip
    log.commit()


def unknown(log: Writer) -> None:
    """Append an event of a type that no build knows: it is kept, and passed over."""
    log.event("dream_dreamt.1", who=b"x", deep=[1, {"é": None}])
    log.commit()


LOGS = {
    "log_created.1": log_created_1,
    "namespace_created.1": namespace_created_1,
    "record_stored.1": record_stored_1,
    "record_deleted.1": record_deleted_1,
    "record_deleted.1+erase": record_deleted_1_erase,
    "key_set.1": key_set_1,
    "namespace_deleted.1": namespace_deleted_1,
    "state_committed.1": state_committed_1,
    "recall_measured.1": recall_measured_1,
    "challenge_judged.1": challenge_judged_1,
    "unknown": unknown,
}


def make(name: str, folder: Path) -> None:
    """Write the folder of one log."""
    log = Writer()
    LOGS[name](log)
    log.write(folder)


def replayed(folder: Path) -> dict[str, Any]:
    """Give what a folder is folded to: in a copy, since opening it writes."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / "data"))
        store = Store.open(RealDisk(), RealTables(), copy, RealRng(), NOW * 2, "golden")
        try:
            seen = store.published
            return {"events": seen.position, "root": seen.root.hex(), "digest": seen.state_digest.hex()}
        finally:
            store.close(NOW * 2)


def main() -> None:
    """Write what is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=FOLDERS)
    parser.add_argument("--digests", action="store_true", help="write the digests again, of folders that are there")
    options = parser.parse_args()
    file = options.into / "expected.json"
    expected = json.loads(file.read_text()) if file.is_file() else {}
    for name in LOGS:
        if not (options.into / name).exists():
            make(name, options.into / name)
            expected[name] = replayed(options.into / name)
            print(f"made {name}: {expected[name]['events']} events")
        elif options.digests:
            found = replayed(options.into / name)
            assert {**found, "digest": ""} == {**expected[name], "digest": ""}, name
            expected[name] = found
    file.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
