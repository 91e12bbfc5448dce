"""Who may challenge this node, and whom it challenges: `challengers` and `[challenge]` of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engram.errors import BadRequest, EngramError
from engram.identity import from_ss58, ss58
from engram.limits import LIMITS
from engram.node._keys import Key, Unfit, in_range, shown, value_of
from engram.sdk import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS_AT_MOST = 256
_NODES_AT_MOST = 1024

TEACHING = """
# Nodes that this one challenges, each in turn, to show that they hold what they have committed to. They must have this
# node's key among their challengers. docs/proofs.md says what it costs and what is kept. Key by key:
#
# [challenge]
# nodes = ["engram://5F…@10.0.0.2:8090"]   # their addresses; with the node's key, where no CA vouches for it
# every_s = 600                            # seconds from one challenge of all of them to the next, 10 to 86400
# m = 64                                   # records that each has to show, 1 to 1024
"""


class Peer(msgspec.Struct, frozen=True):
    """A node to challenge: its address, and its key where that is known beforehand."""

    url: str
    public: bytes | None = None

    @property
    def node_key(self) -> str | None:
        """The key's ss58."""
        return None if self.public is None else ss58(self.public)


def peer_of(address: str) -> Peer:
    """Read `engram://host:port`, or `engram://5F…@host:port` with the node's key. Raises an `EngramError`."""
    found = _WITH_KEY.fullmatch(address)
    peer = Peer(address) if found is None else Peer(found[1] + found[3], from_ss58(found[2]))
    if parse_url(peer.url).scheme != "engram":
        raise BadRequest(f"{address}: a challenge goes over engram://", field="url")
    return peer


_WITH_KEY = re.compile(r"(engram://)([1-9A-HJ-NP-Za-km-z]+)@(.+)")


class ChallengeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to challenge, how often, and by how many records."""

    nodes: tuple[str, ...]
    every_s: int = 600
    m: int = 64


def challengers_of(value: list[str]) -> tuple[str, ...]:
    """Judge a list of keys. Raises `Unfit` for the first that is none, or stands twice."""
    if len(value) > _KEYS_AT_MOST:
        raise Unfit(len(value), "so many keys")
    for at, address in enumerate(value):
        try:
            from_ss58(address)
        except EngramError as error:
            raise Unfit(address, error.message) from None
        if address in value[:at]:
            raise Unfit(address, "it stands there twice")
    return tuple(value)


def challenge_of(found: object, title: Callable[[str], str]) -> ChallengeSpec | None:
    """Check the table. `title` gives what errors call a key. Raises `BadRequest`."""
    if found is None or isinstance(found, ChallengeSpec):
        return found
    if not isinstance(found, Mapping):
        raise BadRequest(f"{title('challenge')} = {shown(found)} will not do. {_A_TABLE}", field="challenge")
    values: dict[str, Any] = {
        str(key): value_of(_KEYS, str(key), value, title(f"challenge.{key}"), "[challenge]")
        for key, value in found.items()
    }
    if "nodes" not in values:
        raise BadRequest(f"{title('challenge.nodes')} is missing. {_KEYS['nodes'].allowed}", field="nodes")
    return ChallengeSpec(**values)


_A_TABLE = 'Allowed: a table, [challenge] with nodes = ["engram://…"].'


def _nodes(value: list[str]) -> tuple[str, ...]:
    if not 1 <= len(value) <= _NODES_AT_MOST:
        raise Unfit(len(value), "so many nodes")
    for at, url in enumerate(value):
        try:
            peer_of(url)
        except EngramError as error:
            raise Unfit(url, error.message) from None
        if url in value[:at]:
            raise Unfit(url, "it stands there twice")
    return tuple(value)


_KEYS = {
    key.name: key
    for key in (
        Key("nodes", list[str], f"Allowed: 1 to {_NODES_AT_MOST} addresses such as engram://host:8090.", "", _nodes),
        Key("every_s", int, "Allowed: 10 to 86400 seconds.", "", in_range(10, 86_400)),
        Key("m", int, f"Allowed: 1 to {LIMITS.challenge_records}.", "", in_range(1, LIMITS.challenge_records)),
    )
}
