"""Proofs and challenges judged from the text of the formats and of `docs/proofs.md`: an oracle of `engram.proofs`.

It works on plain dicts of JSON with bytes for base64, shares no code with the package, and takes what it needs of the
formats from the independent auditor and from `trie_reference`.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

import trie_reference
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from trie_reference import sha

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from auditing import bodies, events, notes
from auditing.framing import Wrong

NOTE = re.compile(
    r"(engram/node/[^\n]+)\n(0|[1-9][0-9]{0,19})\n([A-Za-z0-9+/]{43}=)\n\n— ([^\n ]+) ([A-Za-z0-9+/]+=*)\n\Z"
)
DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CHALLENGE = [
    "netuid",
    "epoch",
    "mode",
    "m",
    "validator",
    "miner",
    "log_size",
    "nonce",
    "keys",
    "issued_unix_ms",
    "t1_ms",
    "t2_ms",
    "signature",
]
FIELDS = {
    "engram/proof/1": {
        "": {"format", "trie", "present", "commitment", "leaves", "multiproof", "cid", "ns", "key"},
        "commitment": {"checkpoint", "event", "path"},
    },
    "engram/receipt/1": {
        "": {"format", "event", "position", "size", "root", "time_unix_ns", "path", "signature"},
    },
}
BYTES = {"checkpoint", "event", "path", "leaves", "multiproof", "ns", "root", "signature"}


class Refused(Exception):
    """It does not hold, or cannot be read."""


def u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 only: every key in these tests is one."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def b64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("base64") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 of more than one form")
    return data


# -- commitments ------------------------------------------------------------------------------------------------------


def note(data: bytes, node: bytes | None = None) -> tuple[bytes, int, bytes]:
    """Give (node key, size, root) of a signed note."""
    found = NOTE.match(data.decode(errors="replace"))
    if found is None or found[1] != found[4]:
        raise Refused("note")
    public = key_of_address(found[1].rpartition("/")[2])
    signature, root = b64(found[5]), b64(found[3])
    text = data[: data.index(b"\n\n") + 1]
    if node not in (None, public) or signature[:4] != sha(found[1].encode() + b"\n\1" + public)[:4]:
        raise Refused("key")
    if not signed_by(public, text, signature[4:]) or int(found[2]) >= 2**64:
        raise Refused("signature")
    return public, int(found[2]), root


def key_of_address(address: str) -> bytes:
    number = 0
    for letter in address:
        if letter not in DIGITS:
            raise Refused("address")
        number = number * 58 + DIGITS.index(letter)
    raw = number.to_bytes(80, "big").lstrip(b"\0")
    if len(raw) != 35 or notes.ss58(raw[1:33]) != address:
        raise Refused("address")
    return raw[1:33]


def stands(event: bytes, position: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 6962 §2.1.1, from above: the last hash of the path is the sibling of the topmost split."""

    def fold(position: int, size: int, path: list[bytes]) -> bytes:
        if size == 1:
            if path:
                raise Refused("path")
            return sha(b"\0" + event)
        if not path or len(path[-1]) != 32:
            raise Refused("path")
        half = 2 ** ((size - 1).bit_length() - 1)
        if position < half:
            return sha(b"\1" + fold(position, half, path[:-1]) + path[-1])
        return sha(b"\1" + path[-1] + fold(position - half, size - half, path[:-1]))

    if not 0 <= position < size or len(path) > 64:
        return False
    try:
        return fold(position, size, path) == root
    except Refused:
        return False


def commitment(given: dict[str, Any], node: bytes | None = None) -> dict[str, Any]:
    public, size, root = note(given["checkpoint"], node)
    if not stands(given["event"], size - 1, size, given["path"], root):
        raise Refused("event")
    try:
        event = events.decode(given["event"])
    except Wrong:
        raise Refused("event") from None
    if event["type"] != "state_committed.1":
        raise Refused("event")
    tries = {name: (event[name]["root"], event[name]["count"]) for name in ("records", "heads")}
    return {"node": public, "size": size, "root": root, **tries}


# -- challenges -------------------------------------------------------------------------------------------------------


def chal_id(challenge: dict[str, Any], committed: dict[str, Any]) -> bytes:
    state_root, count = committed["records"]
    query = bytes(32) if challenge["mode"] == 0 else sha(b"engram/pos/2/keys\n" + b"".join(challenge["keys"]))
    return sha(
        b"engram/pos/2/chal\n"
        + u(challenge["netuid"], 2)
        + u(challenge["epoch"], 8)
        + u(challenge["mode"], 1)
        + u(challenge["m"], 2)
        + challenge["validator"]
        + challenge["miner"]
        + u(challenge["log_size"], 8)
        + committed["root"]
        + state_root
        + u(count, 8)
        + challenge["nonce"]
        + query
        + u(challenge["issued_unix_ms"], 8)
        + u(challenge["t1_ms"], 4)
        + u(challenge["t2_ms"], 4)
    )


def judge(transcript: dict[str, Any]) -> str:
    """Give the name of the verdict that a transcript earns; Refused: it is not about its commitment."""
    challenge = transcript["challenge"]
    committed = commitment(transcript["commitment"], challenge["miner"])
    if committed["size"] != challenge["log_size"]:
        raise Refused("size")
    if not answerable(challenge, committed["records"][1]):
        return "REFUSED"
    name = chal_id(challenge, committed)
    fast, slow = transcript.get("fast"), transcript.get("slow")
    if fast is None:
        return silence(transcript.get("failure"))
    if fast["chal_id"] != name or len(fast["seed"]) != 32:
        return "LATE"
    if not signed_by(challenge["miner"], b"engram/pos/2/fast\n" + name + fast["seed"], fast["signature"]):
        return "LATE"
    if transcript["a_ms"] > challenge["t1_ms"]:
        return "LATE"
    if slow is None:
        return silence(transcript.get("failure"))
    return judge_slow(transcript, committed, name)


def answerable(challenge: dict[str, Any], count: int) -> bool:
    keys, m = challenge["keys"], challenge["m"]
    if count < 1 or not 1 <= m <= 1024:
        return False
    if challenge["mode"] == 0:
        return not keys
    return challenge["mode"] == 3 and len(keys) == m and sorted(set(keys)) == keys


def silence(failure: dict[str, Any] | None) -> str:
    if failure is None:
        return "UNREACHABLE"
    if failure["code"] == "not_found":
        return "MISSING"
    if failure["code"] in ("unavailable", "deadline"):
        return "UNREACHABLE" if failure["phase"] == "a" else "LATE"
    return "LATE" if failure["code"] == "malformed" else "REFUSED"


def judge_slow(transcript: dict[str, Any], committed: dict[str, Any], name: bytes) -> str:
    challenge, fast, slow = transcript["challenge"], transcript["fast"], transcript["slow"]
    hashes = b"".join(map(sha, slow["payloads"]))
    message = sha(slow["multiproof"]) + sha(b"".join(slow["leaves"])) + sha(hashes)
    if (
        slow["chal_id"] != name
        or slow["total"] != len(slow["payloads"])
        or any(len(one) != 64 for one in slow["leaves"])
    ):
        return "LATE"
    if not signed_by(challenge["miner"], b"engram/pos/2/slow\n" + name + message, slow["signature"]):
        return "LATE"
    try:
        seed, lacking = walk(challenge, committed, name, slow)
    except (trie_reference.Invalid, Wrong, Refused):
        return "INVALID"
    if seed != fast["seed"]:
        return "INVALID"
    late = transcript["b_ms"] > challenge["t2_ms"]
    if lacking is None:
        return "LATE" if slow.get("tombstone") is not None or late else "PASS"
    if slow.get("tombstone") is None or not excuses(slow["tombstone"], lacking, transcript):
        return "MISSING"
    return "LATE" if late else "ERASED"


def walk(
    challenge: dict[str, Any], committed: dict[str, Any], name: bytes, slow: dict[str, Any]
) -> tuple[bytes, bytes | None]:
    """Give the seed that is reached, and the leaf at which payloads end too early."""
    root, count = committed["records"]
    keys = challenge["keys"] if challenge["mode"] == 3 else None
    opened = dict(
        zip(trie_reference.verify(root, count, slow["leaves"], slow["multiproof"], keys), slow["leaves"], strict=True)
    )
    waiting = [(leaf(payload), payload) for payload in slow["payloads"]]
    seed, seen, lacking = sha(b"engram/pos/2/seed\n" + name), {}, None
    if keys is None:
        order = (int.from_bytes(seed[:16], "big") * count >> 128 for _ in range(challenge["m"]))
    else:
        order = iter([rank for rank in sorted(opened) if opened[rank][:32] in keys])
    for rank in order:
        if rank not in seen:
            if not waiting:
                lacking = opened.get(rank)
                if lacking is None:
                    raise Refused("a rank that is not opened")
                seen[rank] = b""
                break
            there, payload = waiting.pop(0)
            if opened.get(rank) != there:
                raise Refused("another record")
            seen[rank] = payload
        seed = sha(b"engram/pos/2/next\n" + seed + seen[rank])
    if waiting or (keys is None and set(seen) != set(opened)):
        raise Refused("more than was asked for")
    return seed, lacking


def leaf(payload: bytes) -> bytes:
    digest, _, _ = bodies.read_payload(payload)
    return sha(digest.hex().encode()) + sha(payload)


def excuses(tombstone: bytes, lacking: bytes, transcript: dict[str, Any]) -> bool:
    try:
        event = events.decode(tombstone)
        digest, namespace, signer = events.digest_of(event["cid"]), event["ns"], event["signer"]
    except (Wrong, KeyError, TypeError):
        return False
    if not all(isinstance(each, bytes) for each in (namespace, signer)) or len(namespace) != 32:
        return False
    issued, asked = event.get("issued_unix_ms"), transcript["challenge"]["issued_unix_ms"]
    if event["type"] != "record_deleted.1" or event.get("erase") is not True or not isinstance(issued, int):
        return False
    if sha(digest.hex().encode()) != lacking[:32] or not asked - 31 * 60_000 <= issued <= asked + 120_000:
        return False
    message = b"engram/tombstone/1\n" + transcript["network"] + namespace + digest + u(issued, 8)
    return signed_by(signer, message, event.get("signature") or b"")


# -- documents --------------------------------------------------------------------------------------------------------


def read(data: bytes) -> dict[str, Any]:
    """Read the JSON of a proof or a receipt."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise Refused("a key twice")
        return dict(pairs)

    try:
        value = json.loads(data.decode(), object_pairs_hook=distinct)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None
    if not isinstance(value, dict) or value.get("format") not in FIELDS:
        raise Refused("format")
    fields = FIELDS[value["format"]]
    return {key: plain(key, inner, fields) for key, inner in known(value, fields[""]).items()}


def known(value: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= names:
        raise Refused("fields")
    return {key: inner for key, inner in value.items() if inner is not None}


def plain(key: str, value: Any, fields: dict[str, set[str]]) -> Any:
    if key in fields:
        inner = known(value, fields[key])
        if set(inner) != fields[key]:
            raise Refused("fields")
        return {name: plain(name, each, fields) for name, each in inner.items()}
    if key in ("path", "leaves"):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Refused(key)
        return [b64(each) for each in value]
    kinds = {"present": bool, "position": int, "size": int, "time_unix_ns": int}
    if type(value) is not kinds.get(key, str):
        raise Refused(key)
    return b64(value) if key in BYTES else value


def proof(document: dict[str, Any], node: bytes | None = None) -> bytes | None:
    """Give what stands at the proof's K; None: nothing."""
    try:
        committed = commitment(document["commitment"], node)
        if document["trie"] == "records":
            if "ns" in document or "key" in document:
                raise Refused("subject")
            k = sha(events.digest_of(document["cid"]).hex().encode())
        elif document["trie"] == "heads" and "cid" not in document:
            name = document["key"].encode()
            if len(document["ns"]) != 32 or not 1 <= len(name) <= 512:
                raise Refused("subject")
            k = sha(b"engram/key/1\n" + document["ns"] + u(len(name), 2) + name)
        else:
            raise Refused("trie")
        trie_reference.verify(*committed[document["trie"]], document["leaves"], document["multiproof"], [k])
        found = [leaf[32:] for leaf in document["leaves"] if leaf[:32] == k]
        if document["present"] != bool(found):
            raise Refused("present")
    except (KeyError, Wrong, trie_reference.Invalid, UnicodeEncodeError):
        raise Refused("proof") from None
    return found[0] if found else None


def receipt(document: dict[str, Any], node: bytes) -> None:
    try:
        message = u(document["size"], 8) + document["root"] + u(document["time_unix_ns"], 8)
        events.decode(document["event"])
        here = stands(document["event"], document["position"], document["size"], document["path"], document["root"])
    except (KeyError, OverflowError, Wrong):
        raise Refused("receipt") from None
    if not here or not signed_by(node, b"engram/receipt/1\n" + message, document["signature"]):
        raise Refused("receipt")
