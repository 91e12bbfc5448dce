"""`engram events`: what happened to a node's memories, in the order of its log, and what happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._json import fields, write_line
from engram.cli._options import DEFAULT_WHERE, Command, Where, namespace_of
from engram.cli._shell import INTERRUPTED, OK, note, say, terminal, utf8
from engram.cli._text import printable, short_cid, utc, whole_name

if TYPE_CHECKING:
    from engram.wire import EventInfo

_TYPE_LETTERS = 17
_CELL = 60


class Feed(Command):
    """The command `events`."""

    def events(
        self,
        *,
        since: Annotated[int, Parameter(help="The position to begin at.")] = 0,
        follow: Annotated[
            bool,
            Parameter(
                name=["--follow", "-F"], help="Go on as events come; Ctrl-C ends it.", negative="", show_default=False
            ),
        ] = False,
        types: Annotated[
            list[str] | None,
            Parameter(
                help="Only events of these types, such as record_stored key_set.", consume_multiple=True, negative=""
            ),
        ] = None,
        namespace: Annotated[str | None, Parameter(help="Only events of this namespace; of all if left out.")] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Show what happened, event by event, in the order of the node's log.

        In a pipe, a line each of position, time, type, namespace, CID and key, with tabs between; with --json, an
        object a line, with all that the event says. --follow outlives a lost connection and a node that starts again.
        Whoever has handled the event at a position goes on with --since and one more.
        """
        wanted = None if types is None else [utf8(name, "--types") for name in types]
        show = _json_line if where.json else _drawn if terminal() else _line
        with self.open(where) as target:
            stream = target.events(since, wanted, namespace_of(namespace), follow=follow)
            try:
                for event in stream:
                    say(show(event))
                    if follow:
                        sys.stdout.flush()
            except KeyboardInterrupt:
                if sys.stderr.isatty():
                    note(f"\ngo on with --since {stream.position}")
                return OK if follow else INTERRUPTED
        return OK


def _json_line(event: EventInfo) -> str:
    facts = fields(event)
    return write_line({"position": facts.pop("position"), "time": utc(event.time_unix_ns)} | facts)


def _line(event: EventInfo) -> str:
    cells = (event.type, event.namespace, event.cid, event.key)
    return "\t".join([str(event.position), utc(event.time_unix_ns), *(printable(cell or "") for cell in cells)])


def _drawn(event: EventInfo) -> str:
    """Give what fits a line of the terminal; what is in the public namespace goes without saying."""
    import shutil  # it loads every compressor there is

    about = [f"key {whole_name(event.key, _CELL)}"] if event.key else []
    about += [short_cid(event.cid)] if event.cid else []
    about += [f"in {whole_name(event.namespace, _CELL)}"] if event.namespace not in {None, "public"} else []
    when = utc(event.time_unix_ns, "seconds")
    line = f"{event.position:>7}  {when}  {printable(event.type.rpartition('.')[0]):<{_TYPE_LETTERS}}"
    line = f"{line}  {'  '.join(about)}".rstrip()
    width = max(shutil.get_terminal_size().columns, 1)
    return line if len(line) <= width else f"{line[: width - 1]}…"
