"""Who somebody is: the node's Ed25519 key, hotkeys, ss58 addresses, namespace ids, and the messages that keys sign.

Sources: formats §3 (origin), §8 (names), §9 (signatures); ss58 as Substrate defines it (BLAKE2b-512 checksum, base58).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from engram.errors import FolderRefused, Unprocessable
from engram.limits import LIMITS
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from engram.ports import Disk, Rng

SS58_PREFIX = 42
PUBLIC_NAMESPACE = bytes(32)
"""The id of the public namespace."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CHECKSUM = 2
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_SR25519_MARK = 0x80


class Caller(msgspec.Struct, frozen=True):
    """Who asks. `key`: 32 bytes, Ed25519 of a node or sr25519 of a hotkey; None: nobody who is known.

    `operator`: it speaks with the node's own key, as unsigned calls from loopback do, and its `key` is that one's.
    """

    key: bytes | None = None
    operator: bool = False


OPERATOR = Caller(None, operator=True)
"""Who calls from loopback, or in the node's own process: the Service fills the node's key in."""

ANONYMOUS = Caller()
"""Who calls from elsewhere and has proved nothing: it reads what is public."""


class NodeKey:
    """An Ed25519 key pair; `public` is its 32 bytes, `address` its ss58."""

    def __init__(self, seed: bytes) -> None:
        self._pair = _core.Ed25519Pair(seed)
        self.public = self._pair.public
        self.address = ss58(self.public)

    def __repr__(self) -> str:
        return f"NodeKey({self.address})"

    def sign(self, message: bytes) -> bytes:
        """Sign with pure Ed25519: 64 bytes."""
        return self._pair.sign(message)


class Hotkey:
    """An sr25519 key pair, as wallets make it of a seed of 32 bytes; `public` is its 32 bytes, `address` its ss58."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.public = _core.sr25519_public(seed)
        self.address = ss58(self.public)

    def __repr__(self) -> str:
        return f"Hotkey({self.address})"

    def sign(self, message: bytes) -> bytes:
        """Sign in Substrate's context: 64 bytes, the same for the same message."""
        return _core.sr25519_sign(self._seed, message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether `signature` is that of `message` under a key that may be Ed25519 or sr25519.

    The signature tells which: sr25519 sets the highest bit of its last byte (formats §9).
    """
    if len(signature) == _SIGNATURE_BYTES and signature[-1] & _SR25519_MARK:
        return _core.sr25519_verify(public, message, signature)
    return _core.ed25519_verify(public, message, signature)


def load_or_create(disk: Disk, path: Path, rng: Rng) -> NodeKey:
    """Load the node key at `path` (32 bytes, mode 0600), or make one durably."""
    if not disk.exists(path):
        disk.make_folder(path.parent)
        fresh = path.with_name(path.name + ".new")
        file = disk.open(fresh, create=True, private=True)
        try:
            file.truncate(0)
            file.write(0, rng.bytes(_KEY_BYTES))
            file.sync()
        finally:
            file.close()
        disk.rename(fresh, path)
    disk.sync_folder(path.parent)  # who made it may have been killed before its name was durable
    file = disk.open(path, writable=False)
    try:
        seed = file.read(0, _KEY_BYTES + 1)
    finally:
        file.close()
    if len(seed) != _KEY_BYTES:
        raise FolderRefused(f"{path} is not a node key of 32 bytes; restore it from a backup")
    return NodeKey(seed)


def ss58(public: bytes) -> str:
    """Print a public key as its ss58 address, prefix 42."""
    body = bytes([SS58_PREFIX]) + public
    number = int.from_bytes(body + _checksum(body))
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return digits


def from_ss58(address: str) -> bytes:
    """Give the 32 bytes of an ss58 address with prefix 42; `Unprocessable` otherwise."""
    number = 0
    for letter in address[:64]:
        digit = _ALPHABET.find(letter)
        if digit < 0:
            raise Unprocessable(f"not an ss58 address: {letter!r} is no base58 digit", field="address")
        number = number * 58 + digit
    raw = number.to_bytes(64).lstrip(b"\0")
    body, checksum = raw[:-_CHECKSUM], raw[-_CHECKSUM:]
    if (
        len(body) != 1 + _KEY_BYTES
        or body[0] != SS58_PREFIX
        or checksum != _checksum(body)
        or address != ss58(body[1:])
    ):
        raise Unprocessable(
            "not an ss58 address of 32 bytes with prefix 42 (or its checksum is wrong)", field="address"
        )
    return body[1:]


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(b"SS58PRE" + body).digest()[:_CHECKSUM]


def namespace_id(owner: bytes, name: str) -> bytes:
    """Give the 32 bytes of a named namespace's id; `Unprocessable` for a name that is not 1 to 128 bytes of UTF-8."""
    data = _name_bytes(name, LIMITS.namespace_name_bytes, "name")
    return hashlib.sha256(b"engram/ns/1\n" + owner + len(data).to_bytes(2) + data).digest()


def head_key(namespace: bytes, key: str) -> bytes:
    """Give the K of a key in the trie of heads."""
    data = _name_bytes(key, LIMITS.key_bytes, "key")
    return hashlib.sha256(b"engram/key/1\n" + namespace + len(data).to_bytes(2) + data).digest()


def _name_bytes(name: str, limit: int, field: str) -> bytes:
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise Unprocessable(f"{field}: an unpaired surrogate, which is not Unicode text", field=field) from None
    if not 1 <= len(data) <= limit:
        raise Unprocessable(f"{field}: {len(data)} bytes of UTF-8; it needs 1 to {limit}", field=field)
    return data


def put_message(network: bytes, namespace: bytes, digest: bytes, issued_unix_ms: int) -> bytes:
    """Give the bytes that a put's signer signs."""
    return b"engram/put/1\n" + network + namespace + digest + issued_unix_ms.to_bytes(8)


def tombstone_message(network: bytes, namespace: bytes, digest: bytes, issued_unix_ms: int) -> bytes:
    """Give the bytes that a deletion's signer signs."""
    return b"engram/tombstone/1\n" + network + namespace + digest + issued_unix_ms.to_bytes(8)


def set_key_message(
    network: bytes, namespace: bytes, k: bytes, digest: bytes, expect: bytes, issued_unix_ms: int
) -> bytes:
    """Give the bytes that who sets a key signs. `digest`: zeros for a removal; `expect`: zeros for any head."""
    return b"engram/set-key/1\n" + network + namespace + k + digest + expect + issued_unix_ms.to_bytes(8)


def receipt_message(size: int, root: bytes, time_unix_ns: int) -> bytes:
    """Give the bytes that a node signs for a frame: every event in it is covered by one signature."""
    return b"engram/receipt/1\n" + size.to_bytes(8) + root + time_unix_ns.to_bytes(8)


def ask_message(chal_id: bytes) -> bytes:
    """Give the bytes that a validator signs to have a challenge answered."""
    return b"engram/pos/2/ask\n" + chal_id


def fast_message(chal_id: bytes, seed: bytes) -> bytes:
    """Give the bytes that a miner signs in phase A of a challenge."""
    return b"engram/pos/2/fast\n" + chal_id + seed


def slow_message(chal_id: bytes, multiproof: bytes, leaves: Iterable[bytes], payload_hashes: Iterable[bytes]) -> bytes:
    """Give the bytes that a miner signs in phase B. `payload_hashes`: of every payload that is sent, in order."""
    parts = (multiproof, b"".join(leaves), b"".join(payload_hashes))
    return b"engram/pos/2/slow\n" + chal_id + b"".join(hashlib.sha256(part).digest() for part in parts)


def verdict_message(chal_id: bytes, verdict: int, a_ms: int, b_ms: int, evidence: bytes) -> bytes:
    """Give the bytes that a validator signs of a verdict. `evidence`: the hash of what is kept, zeros for nothing."""
    return b"engram/verdict/1\n" + chal_id + bytes([verdict]) + a_ms.to_bytes(4) + b_ms.to_bytes(4) + evidence


def hello_message(
    side: int, caller_nonce: bytes, server_nonce: bytes, certificate: bytes | None, own: bytes, peer: bytes | None
) -> bytes:
    """Give the bytes that one side of `hello` signs. `side` 0 is the caller; `certificate`: the server's, DER."""
    bound = hashlib.sha256(certificate).digest() if certificate is not None else bytes(32)
    return b"engram/hello/1\n" + bytes([side]) + caller_nonce + server_nonce + bound + own + (peer or bytes(32))
