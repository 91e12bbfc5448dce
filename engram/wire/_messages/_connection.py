"""What a connection begins with, and what keeps it."""

from __future__ import annotations

from typing import ClassVar

from engram.wire._messages._base import (
    Answer,
    Request,
)


class Pong(Answer, frozen=True, kw_only=True):
    """The node answers."""


class Ping(Request[Pong], frozen=True, kw_only=True):
    """Ask whether the node answers, and nothing else."""

    method: ClassVar[str] = "ping"


class HelloResult(Answer, frozen=True, kw_only=True):
    """The node's side of `hello`."""

    protocol: int
    agent: str
    nonce: bytes
    node_key: bytes
    role: str
    model_version: str
    limits: dict[str, int]
    methods: list[str]
    log_size: int
    signature: bytes
    netuid: int | None = None
    hotkey: str | None = None
    delegation: bytes | None = None


class Hello(Request[HelloResult], frozen=True, kw_only=True):
    """Introduce the caller; optional on plain loopback."""

    method: ClassVar[str] = "hello"
    protocol: int
    agent: str
    nonce: bytes
    netuid: int | None = None
    node_key: bytes | None = None
    hotkey: str | None = None
    delegation: bytes | None = None


class ProveResult(Answer, frozen=True, kw_only=True):
    """Who the caller is from now on. `operator`: it has the node's own key, and may do what loopback may."""

    node_key: bytes
    operator: bool


class Prove(Request[ProveResult], frozen=True, kw_only=True):
    """Prove the key that `hello` named: its signature over `formats.md` §9's hello message, side 0."""

    method: ClassVar[str] = "prove"
    signature: bytes
