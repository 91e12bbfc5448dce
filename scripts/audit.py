"""Audit a data folder from its bytes alone: log, bodies, memberships, state roots, checkpoints, node key.

    python scripts/audit.py FOLDER [--json]

A second reading of the formats (`docs/formats.md`, §1-4 and §8) that shares no code with the package it judges: its own
CRC-32C, MessagePack, canonical JSON, Merkle trees and tries. The folder must not be in use; it is only read. `state.db`
is left alone, since it is a projection that the log makes anew.

Every file is read in the order in which facts came to be: the log, the bodies that its events name, the memberships
folded, each committed state, each checkpoint. The first damage ends the audit, since what follows it is no evidence.
Exit codes: 0 every byte is as it should be; 1 something is not, and the first bad file and offset are named (a torn
tail too, which the next start cuts off: nothing acknowledged is in it); 2 there is nothing that can be audited.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from auditing.bodies import ERASED, read_bodies
from auditing.events import decode
from auditing.framing import Damage, Wrong
from auditing.log import Named, node_key_of, read_log
from auditing.notes import check_note, ss58
from auditing.state import State
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoFolder(Exception):
    """There is nothing here that can be audited."""


@dataclass
class Audit:
    """What an audit found."""

    findings: list[Damage] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    node_key: str = ""
    log_root: str = ""

    @property
    def status(self) -> str:
        """Give the worst of the findings: sound, torn or damaged."""
        found = {finding.status for finding in self.findings}
        return next((status for status in ("damaged", "torn") if status in found), "sound")


def audit(folder: Path) -> Audit:
    """Audit a folder that nobody has open; `NoFolder` where there is none."""
    result = Audit()
    with _held(folder):
        try:
            _audit(folder, result)
        except Damage as damage:
            result.findings.append(damage)
    return result


def _audit(folder: Path, result: Audit) -> None:
    check_format((folder / "FORMAT").read_bytes())
    notes = {name: (folder / name).read_bytes() for name in _names(folder, "checkpoints", r"[0-9]{20}")}
    covered = max((int(Path(name).name) for name in notes), default=0)
    log = read_log(_segments(folder, "events", r"[0-9]{20}\.log"), covered, result.findings.append)
    result.counts |= {"frames": len(log.ends), "events": len(log.events)}
    result.log_root = log.tree.root().hex()
    if not log.events:
        if covered:
            raise Damage(max(notes), 0, "a checkpoint of a log that holds nothing")
        return
    key = node_key_of(log)
    result.node_key = ss58(key)
    check_key(folder, key)
    named = Named(log)
    bodies = read_bodies(_segments(folder, "bodies", r"[0-9]{20}\.seg"), named, result.findings.append)
    state = State(folder, bodies)
    for position, event in enumerate(log.events):
        try:
            state.fold(position, decode(event))
        except Wrong as wrong:
            raise Damage(*log.place(position), f"event {position}: {wrong}") from None
    state.check_living(log)
    for name, note in sorted(notes.items()):
        check_note(name, note, key, log)
    state.check_erased()
    unnamed = sum(body.kind != ERASED and key not in named.ids for key, body in bodies.items())
    result.counts |= {"bodies": len(bodies), "unnamed_bodies": unnamed, **state.counts(), "checkpoints": len(notes)}


def check_format(data: bytes) -> None:
    """Check the line of JSON in `FORMAT`."""
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    right = isinstance(content, dict) and set(content) == {"format", "writer"} and data.endswith(b"}\n")
    if not right or content["format"] != 1 or not isinstance(content["writer"], str):
        raise Damage("FORMAT", 0, 'not the line {"format": 1, "writer": text}')


def check_key(folder: Path, public: bytes) -> None:
    """Check that the node key of the folder, where it is here, is the one of position 0."""
    path = folder / "keys" / "node.key"
    if path.is_file():
        seed = path.read_bytes()
        if len(seed) != 32:
            raise Damage("keys/node.key", 0, f"{len(seed)} bytes, where a node key has 32")
        if Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() != public:
            raise Damage("keys/node.key", 0, "not the key that event 0 names")


class _held:  # noqa: N801 (a context manager)
    """Holds a folder against a writer, without writing to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "FORMAT"

    def __enter__(self) -> None:
        try:
            self._file = self._path.open("rb")
        except OSError as error:
            raise NoFolder(f"{self._path}: {error.strerror}; is this a data folder?") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise NoFolder(f"{self._path.parent} is in use; stop its node first") from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _names(folder: Path, part: str, pattern: str) -> list[str]:
    inside = folder / part
    found = [path.name for path in inside.iterdir()] if inside.is_dir() else []
    return [f"{part}/{name}" for name in sorted(found) if re.fullmatch(pattern, name)]


def _segments(folder: Path, part: str, pattern: str) -> Iterator[tuple[str, bytes, bool]]:
    names = _names(folder, part, pattern)
    for name in names:
        yield name, (folder / name).read_bytes(), name == names[-1]


def main() -> int:
    """Audit the folder that the arguments name; give the exit code."""
    parser = argparse.ArgumentParser(description="Audit a data folder from its bytes alone.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        result = audit(options.folder)
    except (NoFolder, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(_as_json(result) if options.json else _as_text(result, options.folder, time.perf_counter() - started))
    return 0 if result.status == "sound" else 1


def _as_json(result: Audit) -> str:
    findings = [{name: getattr(found, name) for name in ("status", "file", "offset", "reason")}
                for found in result.findings]  # fmt: skip
    facts = {"status": result.status, "findings": findings, "node_key": result.node_key, "log_root": result.log_root}
    return json.dumps(facts | result.counts)


def _as_text(result: Audit, folder: Path, seconds: float) -> str:
    lines = [f"{folder}: {result.status} ({seconds:.1f} s)"]
    lines += [f"  {found.status}: {found}" for found in result.findings]
    lines += [f"  node key  {result.node_key}", f"  log root  {result.log_root}"]
    lines += [f"  {count:>10,} {name.replace('_', ' ')}" for name, count in result.counts.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
