"""`engram verify`: proofs, receipts, transcripts, evidence and checkpoints, without the node that made them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from engram.cli._json import write
from engram.cli._shell import FAILED, OK, USAGE, explain, say, terminal
from engram.cli._target import UsageError
from engram.cli._text import printable
from engram.errors import Unprocessable

if TYPE_CHECKING:
    from engram.proofs import Finding

_STDIN = "-"
_MARKS = {OK: ("holds", "1;32"), FAILED: ("does not hold", "1;31"), USAGE: ("cannot be read", "1;33")}


def verify(
    *files: Annotated[str, Parameter(name="FILE", help="Documents to verify.")],
    stdin: Annotated[
        bool, Parameter(name=["--stdin", "-"], help="Read one from standard input.", negative="", show_default=False)
    ] = False,
    node: Annotated[
        str | None,
        Parameter(help="The address (ss58) that the node must have; `engram status` shows it as node key."),
    ] = None,
    json: Annotated[bool, Parameter(help="Print one JSON object a line.", negative="", show_default=False)] = False,
) -> int:
    """Verify what a node has signed, offline: no node, no folder, no data.

    Takes proofs (`engram prove`, GET /v1/proof), receipts of writes, transcripts of challenges, evidence against a
    node, and bare checkpoints. Says of each what it shows, and what it does not. Everything that a document says is
    recomputed from its own bytes; what is left to trust is the node's key, which --node pins. A receipt does not name
    its node and needs it.

    The exit code is 0 if all hold, 1 if one does not, 2 if one cannot be read.
    """
    names = [*files, *([_STDIN] if stdin else [])]
    if not names:
        raise UsageError("give one or more FILEs to verify, or - for standard input")
    pinned = _key(node)
    worst = OK
    for name in names:
        code, result = _verified(name, pinned)
        say(write({"file": name, **result}, indent=None) if json else _report(name, code, result))
        worst = max(worst, code)
    return worst


def _key(node: str | None) -> bytes | None:
    from engram.identity import from_ss58

    try:
        return None if node is None else from_ss58(node)
    except Unprocessable as error:
        raise UsageError(f"--node: {error.message}") from None


def _verified(name: str, node: bytes | None) -> tuple[int, dict[str, Any]]:
    from engram.proofs import DoesNotHold, Unreadable, read
    from engram.proofs import verify as verify_document

    try:
        return OK, _fields(verify_document(read(_bytes(name)), node))
    except DoesNotHold as error:
        return FAILED, {"holds": False, "reason": explain(error)}
    except Unreadable as error:
        return USAGE, {"holds": None, "reason": explain(error)}
    except OSError as error:
        return USAGE, {"holds": None, "reason": error.strerror or str(error)}


def _bytes(name: str) -> bytes:
    """Read a document, and no more than one byte over the most that one has."""
    from engram.proofs import DOCUMENT_BYTES

    if name == _STDIN:
        return sys.stdin.buffer.read(DOCUMENT_BYTES + 1)
    with Path(name).open("rb") as file:
        return file.read(DOCUMENT_BYTES + 1)


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "holds": True,
        "kind": finding.kind,
        "node": finding.node,
        "shown": finding.shown,
        "not_shown": finding.not_shown,
        "facts": finding.facts,
    }


def _report(name: str, code: int, result: dict[str, Any]) -> str:
    said, colour = _MARKS[code]
    said = f"\x1b[{colour}m{said}\x1b[0m" if terminal() else said
    head = f"{printable(name)}: {said}"
    if code != OK:
        return f"{head}: {printable(result['reason'])}"
    lines = [f"{head}: a {result['kind']} of {result['node']}"]
    lines += [f"  {printable(each)}" for each in result["shown"]]
    lines += [f"  Not shown: {printable(each)}." for each in result["not_shown"]]
    return "\n".join(lines)
