"""Bodies as the first Engram's client signs them, with wallets of bittensor's."""

import hashlib
import json

from bittensor_wallet import Keypair

NOW = 1_800_000_000_000
ALICE = Keypair.create_from_seed("0x" + "a1" * 32)
BOB = Keypair.create_from_seed("0x" + "b0" * 32)


def signed(body, endpoint="IngestSynapse", key=ALICE, nonce=NOW):
    """Sign as the first Engram's client does, which writes the body with Python's json."""
    hashed = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    signature = "0x" + key.sign(f"{nonce}:{endpoint}:{hashed}".encode()).hex()
    return {**body, "hotkey": key.ss58_address, "nonce": nonce, "signature": signature}


def claimed(namespace="notes", key=ALICE, timestamp_ms=NOW):
    signature = "0x" + key.sign(f"engram-ns:{namespace}:{timestamp_ms}".encode()).hex()
    return {
        "namespace": namespace,
        "namespace_hotkey": key.ss58_address,
        "namespace_sig": signature,
        "namespace_timestamp_ms": timestamp_ms,
    }
