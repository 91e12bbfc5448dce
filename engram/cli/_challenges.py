"""`engram-node challenges`: what this node's challenges of others have shown, folded from its log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engram.cli._json import write
from engram.cli._shell import OK, say
from engram.cli._target import open_target
from engram.cli._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram.scoring import Standing
    from engram.wire import EventInfo

_TYPE = "challenge_judged.1"
_HEADINGS = ("node", "challenges", "passed", "records", "misses", "test", "weight")


def challenges(
    *,
    node: Annotated[
        str | None, Parameter(help="Ask the node at this address. [default: $ENGRAM_NODE or engram://127.0.0.1:8090]")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON for a program.", negative="")] = False,
) -> int:
    """Show what the challenges that a node has made, by [challenge] of its node.toml, have shown of others.

    Of each challenged node: how many challenges, how many it passed, the records that it showed, at how many challenges
    one was missing, what the ratio test says of it, and the weight that is left to it. In a pipe, a line each with tabs
    between.
    """
    with open_target(node=node, data=None, create=False) as target:
        standings = _folded(target.events(types=[_TYPE], follow=False))
    rows = [_row(miner, standing) for miner, standing in standings.items()]
    if json:
        say(write({"nodes": [_fields(miner, standing) for miner, standing in standings.items()]}))
    elif not rows:
        say("no challenges: [challenge] of node.toml says whom to challenge")
    elif sys.stdout.isatty():
        from engram.cli._screen import Column, draw, table

        columns = [
            Column(heading, "bold" if not at else "", right=at > 0, fold=not at) for at, heading in enumerate(_HEADINGS)
        ]
        say(draw(table(columns, rows)))
    else:
        say("\n".join(map("\t".join, rows)))
    return OK


def _folded(events: Iterable[EventInfo]) -> dict[str, Standing]:
    from engram.identity import ss58
    from engram.proofs import Outcome
    from engram.scoring import Standing, Verdict, fold

    standings: dict[str, Standing] = {}
    for event in events:
        said = event.data
        verdict = Verdict(outcome=Outcome(said["verdict"]), records=said["m"], epoch=said["epoch"])
        miner = ss58(bytes.fromhex(said["miner"]))
        standings[miner] = fold(standings.get(miner, Standing()), verdict)
    return standings


def _row(miner: str, standing: Standing) -> list[str]:
    said = "condemned" if standing.condemned else standing.decision or "undecided"
    counts = (standing.challenges, standing.passed, standing.samples, standing.misses)
    return [printable(miner), *(f"{count:,}" for count in counts), said, f"{standing.weight:.3f}"]


def _fields(miner: str, standing: Standing) -> dict[str, Any]:
    return {
        "node_key": miner,
        "challenges": standing.challenges,
        "passed": standing.passed,
        "records": standing.samples,
        "misses": standing.misses,
        "decision": standing.decision,
        "condemned": standing.condemned,
        "weight": standing.weight,
    }
