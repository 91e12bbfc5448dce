"""The options that every command of `engram` takes, and the types of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from cyclopts import Group, Parameter

from engram.cli._json import read_object
from engram.cli._shell import utf8

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from engram.cli._target import Opener, Target

WHERE = Group("Where and how", sort_key=9)

Namespace = Annotated[str | None, Parameter(help="Namespace to work in; the public one if left out.")]
Cid = Annotated[str, Parameter(help="A memory's CID, v1::…, or the sha256:… of its content.")]
Expect = Annotated[
    str | None,
    Parameter(help="Only if the key names this CID until now, or none for nothing at all; whatever it is if left out."),
]
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
        Parameter(help="Ask the node at this address, http:// too. [default: $ENGRAM_NODE or engram://127.0.0.1:8090]"),
    ] = None
    data: Annotated[Path | None, Parameter(help="Open this data folder itself, without a node.")] = None
    json: Annotated[bool, Parameter(help="Print JSON for a program.", negative="", show_default=False)] = False


DEFAULT_WHERE = Where()


class Command:
    """A command of `engram`, or several that belong together; `opener` gives them what they talk to."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def open(self, where: Where, *, create: bool = False) -> AbstractContextManager[Target]:
        """Open what the options name; `create` allows to make the folder."""
        return self._opener(node=where.node, data=where.data, create=create)


def filter_of(text: str | None) -> str | dict[str, Any] | None:
    """Give the filter that was typed: an expression, or a JSON object."""
    if text is None:
        return None
    text = utf8(text, "--filter")
    return read_object(text, "--filter") if text.lstrip().startswith("{") else text


class _Expecting(TypedDict, total=False):
    expect: str | None


def expect_of(given: str | None) -> _Expecting:
    """Give what a key must name as the keyword of a call: left out for whatever it is."""
    if given is None:
        return {}
    return {"expect": None if given == "none" else utf8(given, "--expect")}


def namespace_of(name: str | None) -> str | None:
    """Give the namespace that was typed, if any."""
    return None if name is None else utf8(name, "--namespace")
