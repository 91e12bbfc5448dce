"""Events as lines: aligned for people, JSON for programs; and what is said of the log at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engram.cli._json import write_line
from engram.cli._shell import complain, say
from engram.cli._text import plural, printable, utc
from engram.events import is_known, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram.events import Entry, Verdict

_STATES = ("sound", "torn", "damaged", "damaged")
_HASH_LETTERS = 12
_TYPE_LETTERS = 21
_DIM, _KNOWN, _UNKNOWN, _PLAIN = "\x1b[2m", "\x1b[36m", "\x1b[33m", "\x1b[0m"


class Lines:
    """Prints the events of the types that are asked for, `record_stored` as well as `record_stored.1`; all for none.

    On a terminal hashes are cut to what tells them apart.
    """

    def __init__(self, types: Iterable[str], *, as_json: bool, terminal: bool, colour: bool) -> None:
        self._types = list(types)
        self._as_json = as_json
        self._cut = terminal
        self._colours = (_DIM, _KNOWN, _UNKNOWN, _PLAIN) if colour else ("",) * 4
        self._shown = 0

    def show(self, entries: Iterable[Entry]) -> None:
        """Print events."""
        for position, time_unix_ns, data in entries:
            event: dict[str, Any] = msgspec.msgpack.decode(data)
            if self._wants(event["type"]):
                self._shown += 1
                say(
                    self._json(position, time_unix_ns, event)
                    if self._as_json
                    else self._line(position, time_unix_ns, event)
                )

    def end(self, size: int, root: bytes, verdict: Verdict) -> None:
        """Print what has been proved of the log, and how it ends."""
        state = _STATES[verdict.status]
        if self._as_json:
            where = {"segment": verdict.segment, "offset": verdict.offset, "reason": verdict.reason}
            say(write_line({"end": {"events": size, "root": root.hex(), "state": state, **where}}))
            return
        if self._types and not self._shown:
            complain(f"no event here is of type {' or '.join(map(printable, self._types))}")
        place = "" if verdict.status == 0 else f" in {verdict.segment} at offset {verdict.offset}: {verdict.reason}"
        say(f"# {plural(size, 'event')} proved, root {root.hex()}, {state}{place}")

    def _wants(self, event_type: str) -> bool:
        return not self._types or event_type in self._types or event_type.rpartition(".")[0] in self._types

    def _json(self, position: int, time_unix_ns: int, event: dict[str, Any]) -> str:
        line = {"position": position, "time": utc(time_unix_ns), "time_unix_ns": time_unix_ns, "event": plain(event)}
        return write_line(line)

    def _line(self, position: int, time_unix_ns: int, event: dict[str, Any]) -> str:
        dim, known, unknown, plain = self._colours
        event_type = event.pop("type")
        name = printable(event_type).ljust(_TYPE_LETTERS)
        colour, strange = (known, "") if is_known(event_type) else (unknown, f"  {dim}of a type unknown here{plain}")
        fields = "  ".join(f"{dim}{printable(key)}={plain}{self._value(value)}" for key, value in event.items())
        return f"{position:>9}  {dim}{utc(time_unix_ns)}{plain}  {colour}{name}{plain}  {fields}{strange}".rstrip()

    def _value(self, value: Any) -> str:
        if isinstance(value, bytes):
            digits = value.hex()
            return f"{digits[:_HASH_LETTERS]}…" if self._cut and len(digits) > 2 * _HASH_LETTERS else digits
        if isinstance(value, dict):
            return "{" + " ".join(f"{printable(key)}={self._value(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + " ".join(map(self._value, value)) + "]"
        return printable(value) if isinstance(value, str) else write_line(plain(value))
