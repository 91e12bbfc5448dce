"""Reads an exported log as the C2SP texts (tlog-tiles, tlog-checkpoint, signed-note) say, and nothing of ours does.

It asks for a path and gets bytes or None, as of a web server. Anything that is not as it has to be is an AssertionError.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class TilesReader:
    def __init__(self, get):
        self.get = get
        name, key_id, key = get("vkey").decode().strip().split("+", 2)
        raw = base64.b64decode(key)
        assert raw[0] == 1
        assert hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == key_id
        self.name, self.key_id, self.key = name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])

    def checkpoint(self, path="checkpoint"):
        """The size and root of a checkpoint, its signature verified."""
        text, _, signatures = self.get(path).decode().partition("\n\n")
        origin, size, root, *extensions = text.split("\n")
        assert (origin, extensions) == (self.name, [])
        (line,) = signatures.splitlines()
        dash, name, blob = line.split(" ")
        assert (dash, name) == ("—", self.name)
        signature = base64.b64decode(blob, validate=True)
        assert signature[:4] == self.key_id
        self.key.verify(signature[4:], f"{text}\n".encode())
        assert str(int(size)) == size
        return int(size), base64.b64decode(root, validate=True)

    def tile(self, level, number, size):
        """A tile as it has to be for a tree of this size: partial, or full."""
        row = size // 256 ** (0 if level == "entries" else level)
        width = min(row - number * 256, 256)
        assert 1 <= width <= 256
        path = f"tile/{level}/{groups(number)}"
        data = None if width == 256 else self.get(f"{path}.p/{width}")
        return (self.get(path) if data is None else data), width

    def hashes(self, level, size):
        found = []
        for number in range(-(-(size // 256**level) // 256)):
            data, width = self.tile(level, number, size)
            assert len(data) in {width * 32, 8192}
            found += [data[at : at + 32] for at in range(0, width * 32, 32)]
        return found

    def entries(self, size):
        found = []
        for number in range(-(-size // 256)):
            data, width = self.tile("entries", number, size)
            for _ in range(width):
                length = int.from_bytes(data[:2], "big")
                assert len(data) >= 2 + length
                found.append(data[2 : 2 + length])
                data = data[2 + length :]
        return found

    def check(self, path="checkpoint"):
        """Read all that a checkpoint speaks for, hold each piece against the others, and give the entries."""
        size, root = self.checkpoint(path)
        entries = self.entries(size)
        leaves = self.hashes(0, size)
        assert leaves == [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
        level, below = 1, leaves
        while len(below) >= 256:
            row = self.hashes(level, size)
            assert row == [root_of(below[at : at + 256]) for at in range(0, len(below) - 255, 256)]
            level, below = level + 1, row
        assert root_of(leaves) == root
        return entries


def root_of(hashes):
    """RFC 6962 §2.1, from leaf hashes."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else hashlib.sha256().digest()
    middle = 1 << ((len(hashes) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root_of(hashes[:middle]) + root_of(hashes[middle:])).digest()


def groups(number):
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])


def of_folder(folder):
    """A reader of a folder as a web server would serve it: files that begin with a dot are not."""

    def get(path):
        assert not any(part.startswith(".") for part in path.split("/"))
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return TilesReader(get)
