"""The options that every command of `engram` takes, and the types of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import Annotated

from cyclopts import Group, Parameter

WHERE = Group("Where and how", sort_key=9)

Namespace = Annotated[str | None, Parameter(help="Namespace to work in; the public one if left out.")]
Filter = Annotated[
    str | None,
    Parameter(help="Only memories whose metadata match: an expression, or a filter as a JSON object."),
]


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Where:
    """What to talk to, and how to print. A dataclass, since that is what cyclopts spreads into options."""

    node: Annotated[
        str | None,
        Parameter(help="Ask the node at this address. [default: $ENGRAM_NODE or engram://127.0.0.1:8090]"),
    ] = None
    data: Annotated[Path | None, Parameter(help="Open this data folder itself, without a node.")] = None
    json: Annotated[bool, Parameter(help="Print JSON for a program.", negative="", show_default=False)] = False


DEFAULT_WHERE = Where()
