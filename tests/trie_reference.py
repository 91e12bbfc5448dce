"""State tries and their multiproofs in plain Python, from the text of the formats: an oracle of the native ones.

Keys are strings of 256 zeros and ones, subtrees are found by their prefix, and a proof is parsed into a tree before any
rule is applied to it: nothing is done in the way that the native core does it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EMPTY = bytes(32)
MOST = 2**64 - 1


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def bits_of(key: bytes) -> str:
    return f"{int.from_bytes(key, 'big'):0256b}"


def node_hash(left: tuple[int, bytes], right: tuple[int, bytes]) -> bytes:
    return sha(b"\x03" + left[0].to_bytes(8, "big") + right[0].to_bytes(8, "big") + left[1] + right[1])


@dataclass
class Trie:
    """What is held: value by key. Roots and proofs are computed from all of it, every time."""

    held: dict[bytes, bytes] = field(default_factory=dict)

    def insert(self, key: bytes, value: bytes) -> bool:
        new = key not in self.held
        self.held[key] = value
        return new

    def remove(self, key: bytes) -> bool:
        return self.held.pop(key, None) is not None

    def copy(self) -> Trie:
        return Trie(dict(self.held))

    def leaves(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.held.items())

    def root(self) -> bytes:
        return subtree_hash({bits_of(key): (key, value) for key, value in self.held.items()}, "")

    def prove(self, ranks: Sequence[int]) -> tuple[list[bytes], bytes]:
        """Mode 0: what stays closed has no leaf that is wanted."""
        wanted = {bits_of(self.leaves()[rank][0]) for rank in ranks}
        return self._prove(lambda prefix: any(bits.startswith(prefix) for bits in wanted))

    def prove_keys(self, keys: Sequence[bytes]) -> tuple[list[bytes], bytes]:
        """Mode 3: what is opened stands on the path of a key."""
        wanted = {bits_of(key) for key in keys}
        return self._prove(lambda prefix: any(bits.startswith(prefix) for bits in wanted))

    def _prove(self, wanted: Callable[[str], bool]) -> tuple[list[bytes], bytes]:
        held = {bits_of(key): (key, value) for key, value in self.leaves()}
        if len(held) < 2:
            return [key + value for key, value in held.values()], b""
        opened: list[bytes] = []

        def written(prefix: str) -> bytes:
            under = {bits: leaf for bits, leaf in held.items() if bits.startswith(prefix)}
            if not under:
                return b"\x00\x00"
            if not wanted(prefix):
                return b"\x00" + varint(len(under)) + subtree_hash(under, prefix)
            if len(under) == 1:
                [(key, value)] = under.values()
                opened.append(key + value)
                return b"\x02"
            return b"\x01" + written(prefix + "0") + written(prefix + "1")

        return opened, (written("0") + written("1")) if wanted("") else b""


def subtree_hash(held: Mapping[str, tuple[bytes, bytes]], prefix: str) -> bytes:
    """The hash of the subtree at a prefix, which all that is held has."""
    if not held:
        return EMPTY
    if len(held) == 1:
        [(key, value)] = held.values()
        return sha(b"\x02" + key + value)
    sides = [{bits: leaf for bits, leaf in held.items() if bits.startswith(prefix + side)} for side in "01"]
    return node_hash(*((len(side), subtree_hash(side, prefix + bit)) for bit, side in zip("01", sides, strict=True)))


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


# -- verifying --------------------------------------------------------------------------------------------------------


@dataclass
class Closed:
    count: int
    hash: bytes


@dataclass
class Opened:
    key: bytes
    value: bytes


@dataclass
class Node:
    left: Closed | Opened | Node
    right: Closed | Opened | Node


class Invalid(Exception):
    pass


def verify(
    root: bytes, count: int, leaves: Sequence[bytes], multiproof: bytes, keys: Sequence[bytes] | None
) -> list[int]:
    """Give the ranks of the opened leaves; Invalid for what the formats refuse."""
    if any(len(leaf) != 64 for leaf in leaves):
        raise Invalid("leaf")
    tree = parsed(count, leaves, multiproof)
    paths = None if keys is None else [bits_of(key) for key in keys]
    if isinstance(tree, Node) and paths is None and not leaves:
        raise Invalid("needless root")
    if count == 0 and paths is None:
        raise Invalid("no leaf")
    check(tree, "", paths)
    if folded(tree) != (count, root):
        raise Invalid("root or count")
    return ranks(tree, 0)


def parsed(count: int, leaves: Sequence[bytes], multiproof: bytes) -> Closed | Opened | Node:
    waiting, at = list(leaves), 0

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(multiproof):
            raise Invalid("short")
        at += size
        return multiproof[at - size : at]

    def number() -> int:
        taken = take(1)
        while taken[-1] >= 128:
            taken += take(1)
            if len(taken) > 10:
                raise Invalid("varint")
        value = sum((byte & 127) << 7 * place for place, byte in enumerate(taken))
        if varint(value) != taken or value > MOST:
            raise Invalid("varint")
        return value

    def opened() -> Opened:
        if not waiting:
            raise Invalid("leaves")
        leaf = waiting.pop(0)
        return Opened(leaf[:32], leaf[32:])

    def item(depth: int) -> Closed | Opened | Node:
        tag = take(1)[0]
        if tag == 0:
            value = number()
            return Closed(value, take(32) if value else EMPTY)
        if tag == 1 and depth < 256:
            return Node(item(depth + 1), item(depth + 1))
        if tag == 2:
            return opened()
        raise Invalid("tag or depth")

    if count > 1:
        tree: Closed | Opened | Node = Node(item(1), item(1))
    else:
        tree = opened() if count else Closed(0, EMPTY)
    if waiting or at != len(multiproof):
        raise Invalid("left over")
    return tree


def check(tree: Closed | Opened | Node, prefix: str, paths: Sequence[str] | None) -> None:
    on_path = paths is not None and any(path.startswith(prefix) for path in paths)
    match tree:
        case Closed(count=count):
            if count > 2 ** (256 - len(prefix)):
                raise Invalid("more leaves than keys")
            if on_path and count:
                raise Invalid("closed")
        case Opened(key=key):
            if not bits_of(key).startswith(prefix) or not (paths is None or on_path):
                raise Invalid("leaf's place")
        case Node(left=left, right=right):
            if not (opens(tree) if paths is None else on_path):
                raise Invalid("needless")
            check(left, prefix + "0", paths)
            check(right, prefix + "1", paths)


def opens(tree: Closed | Opened | Node) -> bool:
    return isinstance(tree, Opened) or (isinstance(tree, Node) and (opens(tree.left) or opens(tree.right)))


def folded(tree: Closed | Opened | Node) -> tuple[int, bytes]:
    match tree:
        case Closed(count=count, hash=digest):
            return count, digest
        case Opened(key=key, value=value):
            return 1, sha(b"\x02" + key + value)
        case Node(left=left, right=right):
            sides = folded(left), folded(right)
            total = sides[0][0] + sides[1][0]
            if not 2 <= total <= MOST:
                raise Invalid("count of a node")
            return total, node_hash(*sides)


def ranks(tree: Closed | Opened | Node, before: int) -> list[int]:
    match tree:
        case Closed():
            return []
        case Opened():
            return [before]
        case Node(left=left, right=right):
            return ranks(left, before) + ranks(right, before + folded(left)[0])
