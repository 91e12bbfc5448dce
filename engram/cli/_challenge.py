"""`engram-node challenge`: have a running node show that it holds what it has committed to."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engram.cli._json import write
from engram.cli._shell import OK, UNREACHABLE, complain, say, utf8
from engram.cli._target import Unreachable, UsageError
from engram.cli._text import duration, plural, printable, size
from engram.errors import EngramError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engram.identity import NodeKey
    from engram.node import Challenged, Peer, Terms
    from engram.proofs import Transcript

_SEED_BYTES = 32
_KEY_BYTES = 32
_FIRST_VERDICT = 10
_LOST = (0.5, 0.1, 0.01, 0.001)
"""Shares of its records that a node may have lost, for what a sample finds of them."""


def challenge(
    node: Annotated[str, Parameter(name="NODE", help="Its address: engram://host:port, or engram://5F…@host:port.")],
    /,
    *,
    m: Annotated[int, Parameter(name=["--records", "-m"], help="How many records it has to show, 1 to 1,024.")] = 64,
    cid: Annotated[
        list[str] | None,
        Parameter(
            name="--cid",
            help="Have it show these memories, not records drawn by lot.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="Data folder whose node's key challenges. [default: ./engram-data]")
    ] = None,
    key_file: Annotated[Path | None, Parameter(help="A key's file in place of that: 32 bytes.")] = None,
    t1_ms: Annotated[int, Parameter(name="--t1-ms", help="Milliseconds for phase A.")] = 2_000,
    t2_ms: Annotated[int, Parameter(name="--t2-ms", help="Milliseconds for phase B.")] = 30_000,
    save: Annotated[
        Path | None, Parameter(help="Keep the transcript in this file, for `engram verify`. It holds the records.")
    ] = None,
    json: Annotated[
        bool, Parameter(name="--json", help="Print JSON for a program.", negative="", show_default=False)
    ] = False,
) -> int:
    """Challenge a running node: it must show records that it cannot know beforehand, under its signed checkpoint.

    Phase A: it walks from record to record, each drawn by the bytes of the one before, and signs where that ends. Phase
    B: it sends the records and the proof that they stand under its checkpoint. Nothing of it needs to be here already.

    The key of the data folder challenges; it must be the challenged node's own, or stand among the challengers of that
    node's node.toml. From elsewhere than its machine the node's key goes into NODE, unless a CA vouches for it.

    Of a memory of --cid that it does not hold, it shows that, and passes: "not held" names it. So it is with one that
    was kept after the checkpoint, which is made anew each minute at most.

    The exit code is 0 for PASS; 11 INVALID, 12 MISSING, 13 LATE, 14 REFUSED, 3 UNREACHABLE, 16 ERASED.
    """
    import trio

    from engram.node import challenge as challenge_node
    from engram.node import real_world

    peer, terms = _peer(node), _terms(m, cid, t1_ms, t2_ms)
    key = _key(data, key_file)
    world = real_world()
    try:
        with _bar() as on_part:
            done = trio.run(challenge_node, peer, key, terms, world.clock, world.rng, on_part)
    except Unavailable as error:
        raise Unreachable(f"{node}: {error.message}") from None
    except Unauthenticated as error:
        if error.field != "node_key":
            raise
        if peer.public is not None:
            raise UsageError(f"{node}: another node answers there: {error.message}") from None
        raise UsageError(
            f"{node}: nobody vouches for its certificate; put the node's key, which `engram status` there says, into "
            "the address: engram://5F…@host:port"
        ) from None
    transcript = done.transcript(keep=save is not None)
    if save is not None:
        from engram.proofs import write as document

        save.write_bytes(document(transcript) + b"\n")
    facts = _facts(done, transcript, key, node, cid or ())
    say(write(facts) if json else _sheet(facts))
    _advise(transcript, key)
    return _exit_code(done)


def _peer(node: str) -> Peer:
    from engram.node import peer_of

    try:
        return peer_of(utf8(node, "NODE"))
    except EngramError as error:
        raise UsageError(f"NODE: {error.message}") from None


def _terms(m: int, cids: Sequence[str] | None, t1_ms: int, t2_ms: int) -> Terms:
    from engram import cid as ids
    from engram.limits import LIMITS
    from engram.node import Terms

    for name, given, most in (
        ("--records", len(cids) if cids else m, LIMITS.challenge_records),
        ("--t1-ms", t1_ms, 60_000),
        ("--t2-ms", t2_ms, 600_000),
    ):
        if not 1 <= given <= most:
            raise UsageError(f"{name} {given} will not do. Allowed: 1 to {most}")
    try:
        keys = {ids.key_of(ids.digest_of(utf8(each, "--cid"))) for each in cids or ()}
    except EngramError as error:
        raise UsageError(f"--cid: {error.message}") from None
    return Terms(m=m, keys=sorted(keys), t1_ms=t1_ms, t2_ms=t2_ms)


def _key(data: Path | None, key_file: Path | None) -> NodeKey:
    """Give the key that challenges: of a file, or of a data folder, which a node may have open."""
    from engram.cli._config_file import configure
    from engram.identity import NodeKey

    if data is not None and key_file is not None:
        raise UsageError("--data and --key-file exclude each other: both say whose key challenges")
    file = key_file or configure(None, {"data_dir": data})[0].data_dir / "keys" / "node.key"
    if not file.is_file():
        raise UsageError(f"{file} is not there: name a node's data folder with --data, or a key with --key-file")
    with file.open("rb") as opened:
        seed = opened.read(_SEED_BYTES + 1)
    if len(seed) != _SEED_BYTES:
        raise UsageError(f"{file} is no key: that has {_SEED_BYTES} bytes")
    return NodeKey(seed)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], object]]:
    """Give what shows how many records have come: a bar on a terminal, where they come in parts."""
    if not sys.stderr.isatty():
        yield lambda _came, _total: None
        return
    from engram.cli._progress import line_progress

    with line_progress() as progress:
        task = progress.add_task("records", total=None, visible=False)
        yield lambda came, total: progress.update(task, completed=came, total=total, visible=True)


def _facts(done: Challenged, transcript: Transcript, key: NodeKey, node: str, cids: Sequence[str]) -> dict[str, Any]:
    from engram.identity import ss58

    challenge, slow, state = transcript.challenge, transcript.slow, done.committed.state
    payloads = [] if slow is None else slow.payloads
    from engram.scoring import detection

    return {
        "verdict": done.judged.outcome.name,
        "reason": done.judged.reason,
        "node": node,
        "node_key": ss58(challenge.miner),
        "challenger": key.address,
        "chal_id": done.challenger.chal_id.hex(),
        "size": done.committed.size,
        "log_root": done.committed.root.hex(),
        "records": state.records.count,
        "records_root": state.records.root.hex(),
        "checkpoint_bytes": len(done.commitment.checkpoint),
        "m": challenge.m,
        "by": "key" if challenge.keys else "lot",
        "a_ms": transcript.a_ms,
        "t1_ms": challenge.t1_ms,
        "b_ms": transcript.b_ms,
        "t2_ms": challenge.t2_ms,
        "shown": done.judged.samples,
        **({"not_held": _not_held(transcript, cids)} if cids and done.judged.outcome.name == "PASS" else {}),
        "payload_bytes": sum(map(len, payloads)),
        "multiproof_bytes": 0 if slow is None else len(slow.multiproof),
        "detects": {f"{share:g}": round(detection(share, challenge.m), 6) for share in _LOST},
    }


def _not_held(transcript: Transcript, cids: Sequence[str]) -> list[str]:
    """Give those of the memories whose leaves a verified answer does not open: they are shown not to be held."""
    from engram import cid as ids

    opened = set() if transcript.slow is None else {leaf[:_KEY_BYTES] for leaf in transcript.slow.leaves}
    return [each for each in dict.fromkeys(cids) if ids.key_of(ids.digest_of(each)) not in opened]


def _shown(facts: dict[str, Any]) -> str:
    drawn = (
        f"{facts['m']:,} asked for" if facts["by"] == "key" else f"{facts['records']:,} in {plural(facts['m'], 'draw')}"
    )
    records = f"{plural(facts['shown'], 'record')} of {drawn}"
    return f"{records}, {size(facts['payload_bytes'])}, with a proof of {size(facts['multiproof_bytes'])}"


def _sheet(facts: dict[str, Any]) -> str:
    from engram.cli._results import rows_lines, rows_sheet

    found = ", ".join(f"{float(share):.1%} {chance:.1%}" for share, chance in facts["detects"].items())
    rows = [
        ("verdict", f"{facts['verdict']}: {facts['reason']}"),
        ("node", f"{facts['node_key']} at {facts['node']}"),
        ("challenger", facts["challenger"]),
        (
            "checkpoint",
            f"{plural(facts['size'], 'event')}, {size(facts['checkpoint_bytes'])}, root {facts['log_root']}",
        ),
        ("records", f"{plural(facts['records'], 'record')}, root {facts['records_root']}"),
        ("phase A", f"{duration(facts['a_ms'] / 1000)} of {duration(facts['t1_ms'] / 1000)}"),
        ("phase B", f"{duration(facts['b_ms'] / 1000)} of {duration(facts['t2_ms'] / 1000)}"),
        ("shown", _shown(facts)),
    ]
    if facts.get("not_held"):
        rows.append(("not held", f"{', '.join(facts['not_held'])}: shown for that checkpoint"))
    if facts["by"] == "lot" and facts["verdict"] == "PASS":
        rows.append(("would fail", f"a node that has lost this much of its records, so often: {found}"))
    rows = [(name, printable(value)) for name, value in rows]
    return rows_sheet(rows) if sys.stdout.isatty() else rows_lines(rows)


def _advise(transcript: Transcript, key: NodeKey) -> None:
    """Say what to do where the node would not be challenged by this key."""
    if transcript.failure is not None and transcript.failure.code in {"forbidden", "unauthenticated"}:
        complain(
            "this key may not challenge that node. Its operator adds to node.toml, and starts the node again:\n"
            f'  challengers = ["{key.address}"]'
        )


def _exit_code(done: Challenged) -> int:
    match done.judged.outcome.name:
        case "PASS":
            return OK
        case "UNREACHABLE":
            return UNREACHABLE
        case _:
            return _FIRST_VERDICT + done.judged.outcome
