"""`engram-node actors`: how the actors of a running node are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._json import fields, write
from engram.cli._shell import OK, say
from engram.cli._target import open_target
from engram.cli._text import printable, utc

if TYPE_CHECKING:
    from rich.console import RenderableType

    from engram.wire import ActorInfo, ActorsResult, DeadLetterInfo

_STATES = {"running": "green", "failed": "bold red", "backing_off": "bold yellow"}
_HEADINGS = ("actor", "state", "waiting", "handled", "refused", "restarts", "dead", "log")


def actors(
    *,
    node: Annotated[
        str | None, Parameter(help="Ask the node at this address. [default: $ENGRAM_NODE or engram://127.0.0.1:8090]")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print JSON for a program.", negative="")] = False,
) -> int:
    """Show how the actors of a running node are, its plug-ins among them.

    Of each: its state, the messages that wait of those that may, how many it handled and refused, how often it was
    started again, how many messages it left dead, and how far it is in the log, of how many events. Then with what each
    that crashed did so last, and the latest dead letters: messages that crashed an actor. In a pipe, a line an actor
    with tabs between; --json gives all.
    """
    with open_target(node=node, data=None, create=False) as target:
        found = target.actors()
    if json:
        say(write(fields(found)))
    elif sys.stdout.isatty():
        say(_drawn(found))
    else:
        lines = [tuple(map(printable, _row(actor, found.position))) for actor in found.actors]
        lines += [("last crash", *crash) for crash in _crashes(found)]
        lines += [("dead letter", *_letter(letter)) for letter in found.dead_letters]
        say("\n".join(map("\t".join, lines)))
    return OK


def _row(actor: ActorInfo, position: int) -> list[str]:
    return [
        actor.name,
        actor.state,
        f"{actor.waiting:,}/{actor.mailbox_limit:,}",
        *(f"{count:,}" for count in (actor.handled, actor.refused, actor.restarts, actor.dead_letters)),
        _place(actor, position),
    ]


def _place(actor: ActorInfo, position: int) -> str:
    """Say how far an actor is in the log, by what is less far, its state or its reactions."""
    places = [place for place in (actor.applied, actor.reacted) if place is not None]
    return f"{min(places):,}/{position:,}" if places else ""


def _crashes(found: ActorsResult) -> list[tuple[str, str]]:
    """Say what each actor that has crashed did so with the last time."""
    return [(printable(actor.name), printable(actor.last_error)) for actor in found.actors if actor.last_error]


def _letter(letter: DeadLetterInfo) -> tuple[str, ...]:
    said = (letter.actor, letter.message, letter.error)
    return utc(letter.time_unix_ns, "seconds"), *map(printable, said)


def _drawn(found: ActorsResult) -> str:
    from rich.console import Group
    from rich.text import Text

    from engram.cli._screen import Column, draw, table

    columns = [Column(heading, "bold" if not at else "", right=at >= 2) for at, heading in enumerate(_HEADINGS)]
    drawing = table(columns, ([printable(cell) for cell in _row(actor, found.position)] for actor in found.actors))
    for actor, row in zip(found.actors, drawing.rows, strict=True):
        row.style = "" if actor.state == "running" else _STATES.get(actor.state, "dim")
    parts: list[RenderableType] = [drawing]
    parts += [Text(f"{name}: last crash {error}", "yellow") for name, error in _crashes(found)]
    if found.dead_letters:
        columns = [Column(heading) for heading in ("time", "actor", "message", "error")]
        parts += [Text("\ndead letters, the latest last", "bold"), table(columns, map(_letter, found.dead_letters))]
    return draw(Group(*parts))
