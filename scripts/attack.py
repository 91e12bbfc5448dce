"""Attack the doors of a node while good clients are served and measured, and see that it lives and stays bounded.

    python scripts/attack.py [--seconds 15] [--random-s 600] [--only NAME] [--door rpc] [--rss-mib 1024]

The node is a process of its own on loopback, filled with --records vectors; each attack comes from another process, one
door at a time. Good clients, one a door, ask a query by vector again and again, at most 100 times a second each: first
in peace, then beside each attack. The table has the p50 and p99 of the door that is attacked, in peace and beside the
attack, what good clients were refused, and the node's resident memory before, at its peak, and at the end. --random-s
is for random bytes alone.

The exit code is 0 where the node answers after each attack, its log tells of no bug, memory stays under --rss-mib, and
no good client was refused more than once in a hundred calls.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import trio
from attacking.attacks import ATTACKS
from attacking.doors import DIM, DOORS, vector
from attacking.served import Good, Node

from engram.errors import EngramError
from engram.sdk import EngramClient

_ANSWERED_S = 60.0


class Seen(msgspec.Struct, frozen=True):
    """What was seen beside one attack, or in peace: of each door."""

    good: dict[str, Good]
    peak_mib: float


def look(node: Node, seconds: float, attack: list[str] | None = None) -> Seen:
    """Measure good clients of both doors for a while, beside an attack if there is one."""
    with contextlib.ExitStack() as stack:
        if attack is not None:
            attacker = subprocess.Popen([sys.executable, __file__, *attack])
            stack.callback(attacker.wait)
            stack.callback(attacker.terminate)
            time.sleep(min(1.0, seconds))
        good = {door: stack.enter_context(Good(door, node)) for door in node.ports}
        ends, peak = time.monotonic() + seconds, 0.0
        while time.monotonic() < ends and node.alive:
            peak = max(peak, node.rss_mib)
            time.sleep(0.05)
    return Seen(good, peak)


# -- the run ----------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, folder: Path) -> int:
    """Attack a node on `folder`; give the exit code."""
    node = Node(folder)
    failures: list[str] = []
    try:
        fill(node, options.records)
        peace = look(node, options.seconds)
        print(f"in peace {node.rss_mib:.0f} MiB\n")
        print(
            "| attack | door | p50 ms | beside it | p99 ms | beside it | calls | refused | MiB before | peak | after |"
        )
        print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        for name in options.only or ATTACKS:
            for door in options.door or list(node.ports):
                before = node.rss_mib
                seconds = options.random_s if name == "random_bytes" else options.seconds
                seen = look(node, seconds, ["--attacker", name, "--door", door, "--port", str(node.ports[door])])
                time.sleep(min(2.0, options.seconds))
                failures += judged(node, f"{name} at {door}", seen, options.rss_mib)
                if not node.alive:
                    break
                tell(name, door, peace, seen, before, node.rss_mib)
        failures += [f"the log says: {line}" for line in node.troubles()[:20]]
    finally:
        code = node.stop()
    failures += [f"the node ended with {code}"] if code else []
    print("\n" + ("\n".join(failures) if failures else "alive, bounded, and good clients were served"))
    return 1 if failures else 0


def fill(node: Node, records: int) -> None:
    """Keep the vectors that good clients ask for."""
    rng = random.Random(3)  # noqa: S311
    rows = [struct.pack(f"<{DIM}f", *vector(rng)) for _ in range(records)]
    with EngramClient(node.url, 60) as client:
        client.ingest_many([{"vector": row, "metadata": {"n": at, "of": "x" * 500}} for at, row in enumerate(rows)])


def tell(name: str, door: str, peace: Seen, seen: Seen, before: float, after: float) -> None:
    """Print a row of the table."""
    calm, good = peace.good[door], seen.good[door]
    shown = " | ".join(f"{each.share(percent):.1f}" for percent in (50, 99) for each in (calm, good))
    print(
        f"| {name} | {door} | {shown} | {len(good.ms):,} | {len(good.refused)} | {before:.0f} | {seen.peak_mib:.0f}"
        f" | {after:.0f} |",
        flush=True,
    )


def judged(node: Node, what: str, seen: Seen, rss_mib: float) -> list[str]:
    """Give what is wrong after an attack."""
    wrong = [] if node.alive else [f"{what}: the node is gone"]
    if seen.peak_mib > rss_mib:
        wrong.append(f"{what}: {seen.peak_mib:.0f} MiB, over {rss_mib:.0f}")
    for door, good in seen.good.items():
        if len(good.refused) * 100 > len(good.ms):
            kinds = ", ".join(sorted(set(good.refused)))
            wrong.append(f"{what}: good clients of {door} were refused {len(good.refused)} of {len(good.ms)}: {kinds}")
    if node.alive:
        with EngramClient(node.url, _ANSWERED_S) as client:
            try:
                client.ping()
            except EngramError as error:
                wrong.append(f"{what}: no ping is answered: {error}")
    return wrong


def main() -> int:
    """Run it; or, with --attacker, be an attacker until ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="how long each attack takes")
    parser.add_argument("--random-s", type=float, default=600, help="how long random bytes come")
    parser.add_argument("--only", choices=ATTACKS, action="append")
    parser.add_argument("--door", choices=DOORS, action="append")
    parser.add_argument("--rss-mib", type=float, default=1024)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--attacker", choices=ATTACKS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attacker:
        rng = random.Random(4)  # noqa: S311
        trio.run(ATTACKS[options.attacker], DOORS[options.door[0]], options.port, rng)
    with tempfile.TemporaryDirectory() as folder:
        return run(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
