"""Words for people: stored text made safe for a terminal, and numbers, sizes and times made readable. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1: move the cursor, set colours, ring, talk back
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls: show text in another order than it has
    "\u2028\u2029"  # line and paragraph separators
    "\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible
    "\ud800-\udfff]"  # lone surrogates: no encoding takes them
)
"""What must not reach a terminal as it is. Joiners are not in it: scripts and emoji are written with them."""

_LINE_ENDS = re.compile(r"\r\n?|[\n\x0b\x0c\x85\u2028\u2029]")
_BLANKS = re.compile(r"[\s\x85\u2028\u2029]+")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str, *, multiline: bool = False) -> str:
    r"""Escape what would act on a terminal instead of being seen on it: ESC becomes `\x1b`.

    `multiline` keeps line ends and tabs.
    """
    if not multiline:
        return UNSAFE.sub(_escape, text)
    lines = _LINE_ENDS.split(text)
    return "\n".join("\t".join(printable(part) for part in line.split("\t")) for line in lines)


def one_line(text: str, limit: int | None = None) -> str:
    """Give `text` safe for a terminal on one line, runs of blanks as one space, cut to `limit` characters with `…`."""
    if limit is not None:
        text = text[: 4 * limit]
    line = printable(_BLANKS.sub(" ", text).strip())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def whole_name(text: str, limit: int) -> str:
    r"""Give a name as it has to be typed, blanks and all, a line end as `\n`; cut to `limit` characters with `…`."""
    line = printable(text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def paragraphs(docstring: str) -> str:
    """Give a docstring with each paragraph on one line, for help texts that wrap by themselves."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


def short_cid(cid: str) -> str:
    """Cut a CID for the eye: `v1::a3f2b1c4d5e6…`."""
    head, separator, digest = cid.rpartition(":")
    return printable(head + separator + digest[:12] + "…" if len(digest) > 12 else cid)


def size(count: float) -> str:
    """Say a number of bytes: `86.7 MiB`."""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Say a time: `3 ms`, `4.2 s`, `5 min 10 s`, `2 h 3 min`, `4 d 7 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def utc(time_unix_ns: int, timespec: str = "microseconds") -> str:
    """Say a time of the log: `2026-01-31T12:00:00.123456Z`."""
    time = _EPOCH + timedelta(microseconds=time_unix_ns // 1000)
    return time.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def plural(count: int, noun: str) -> str:
    """Say how many: `1 error`, `4,980 lines`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _escape(found: re.Match[str]) -> str:
    if short := _SHORT.get(found.group()):
        return short
    code = ord(found.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
