"""`engram-node export`: the log of a data folder as static files that other programs read and prove."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._json import write_line
from engram.cli._log_progress import log_progress, refuse_strange
from engram.cli._shell import INTERRUPTED, OK, complain, say
from engram.cli._text import plural, printable

if TYPE_CHECKING:
    from engram.events import Exported


def export(
    data: Annotated[Path, Parameter(name="DIR", help="Data folder; a node may have it open.")],
    out: Annotated[Path, Parameter(name="OUT", help="Folder to write: new, empty, or of an export before.")],
    /,
    *,
    json: Annotated[
        bool, Parameter(name="--json", help="Print JSON for a program.", negative="", show_default=False)
    ] = False,
) -> int:
    """Write the log as C2SP tlog-tiles and signed checkpoints, which others read and prove without Engram.

    OUT can be served by any web server as it is. It has every event up to the largest signed checkpoint, and no text:
    a log names what was kept by hashes alone. The log is proved as it is read, and every checkpoint is held against the
    tiles before the new one is published. Done again, it adds what is new, and mends what has rotted. `vkey` in it is
    the key to verify with. The exit code is 1 if the log or a checkpoint is damaged; nothing is published then.
    """
    from engram.events import export_tiles
    from engram.runtime import RealDisk

    refuse_strange(data)
    started = time.perf_counter()
    try:
        with log_progress(data) as advance:
            done = export_tiles(RealDisk(), data.absolute(), out.absolute(), advance)
    except KeyboardInterrupt:
        complain("interrupted: nothing new was published\n  run the same again: what is written already is kept")
        return INTERRUPTED
    say(_facts(done, out, time.perf_counter() - started) if json else _line(done, out))
    return OK


def _facts(done: Exported, out: Path, seconds: float) -> str:
    facts = {name: getattr(done, name) for name in done.__struct_fields__}
    return write_line({"out": str(out), **facts, "root": done.root.hex(), "seconds": round(seconds, 3)})


def _line(done: Exported, out: Path) -> str:
    mended = f", {done.mended:,} of them over wrong ones" if done.mended else ""
    return (
        f"{printable(str(out))}: {plural(done.size, 'event')} in {plural(done.tiles, 'tile')}, "
        f"{plural(done.checkpoints, 'checkpoint')}, root {done.root.hex()}\n"
        f"{plural(done.written, 'file')} written{mended}; verify with {done.vkey}"
    )
