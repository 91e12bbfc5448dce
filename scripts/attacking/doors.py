"""What the attacks know of each door: the bytes of calls, whole and broken."""

from __future__ import annotations

import itertools
import json
import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

MIB = 1 << 20
DIM = 384
DEEP = 100_000

_pack = msgspec.msgpack.Encoder().encode


def vector(rng: random.Random) -> list[float]:
    """Give a vector of the public namespace's dimension."""
    return [rng.uniform(-1, 1) for _ in range(DIM)]


class Rpc:
    """MessagePack-RPC."""

    name = "rpc"

    def query(self, rng: random.Random) -> bytes:
        """Give a call that a good client makes."""
        return _pack([0, rng.getrandbits(32), "query", [{"vector": struct.pack(f"<{DIM}f", *vector(rng))}]])

    def put(self, rng: random.Random) -> bytes:
        """Give a write, of a text, which is to be embedded."""
        return _pack([0, rng.getrandbits(32), "put", [{"text": f"attacked {rng.random()} times"}]])

    def much(self) -> bytes:
        """Give calls whose answers are large."""
        return b"".join(_pack([0, number, "list", [{"limit": 1000}]]) for number in range(100))

    def huge(self) -> bytes:
        """Give a message over the limit."""
        return _pack([0, 1, "put", [{"text": "x" * 9 * MIB}]])

    def endless(self, rng: random.Random) -> Iterator[bytes]:
        """Give a message that has no end: arrays of 4 billion, and what stands in them."""
        yield b"\x94\x00\x01\xa3put\xdd\xff\xff\xff\xff"
        for _ in itertools.count():
            yield _pack({"k" * 100: rng.randbytes(1000)}) * 10

    def nested(self) -> bytes:
        """Give a message that is nested deep."""
        return b"\x91" * DEEP


class Http:
    """HTTP/1.1: REST."""

    name = "http"

    def query(self, rng: random.Random) -> bytes:
        """Give a request that a good client makes."""
        return _post("/v1/query", json.dumps({"vector": vector(rng)}).encode())

    def put(self, rng: random.Random) -> bytes:
        """Give a write, of a text, which is to be embedded."""
        return _post("/v1/memories", json.dumps({"text": f"attacked {rng.random()} times"}).encode())

    def much(self) -> bytes:
        """Give requests whose answers are large."""
        return _request("GET", "/v1/memories?limit=1000") * 100

    def huge(self) -> bytes:
        """Give a body of 9 MiB, of which no value is within its limits."""
        return _post("/v1/memories", json.dumps({"text": "x" * 9 * MIB}).encode())

    def endless(self, rng: random.Random) -> Iterator[bytes]:
        """Give headers that have no end."""
        yield b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for number in itertools.count():
            yield f"X-{number}: {rng.randbytes(500).hex()}\r\n".encode()

    def nested(self) -> bytes:
        """Give a body that is nested deep."""
        return _post("/v1/query", b'{"filter": ' + b"[" * DEEP + b"]" * DEEP + b"}")


Door = Rpc | Http
DOORS: dict[str, Door] = {"rpc": Rpc(), "http": Http()}


def _post(path: str, body: bytes) -> bytes:
    return _request("POST", path, f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n") + body


def _request(verb: str, path: str, headers: str = "") -> bytes:
    return f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()
