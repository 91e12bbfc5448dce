"""`engram-node audit`: what a data folder, or a memory in one file, proves of itself, and what of it does not hold."""

from __future__ import annotations

import contextlib
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._shell import FAILED, OK, say
from engram.cli._target import Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engram.store import AuditOrder, Claim, GivenCheckpoint

_PAUSE_S = 0.2
_NOTE_BYTES = 4096


def audit(
    data: Annotated[Path, Parameter(name="DIR", help="Data folder, or a memory in one file; a node may have it open.")],
    /,
    *,
    checkpoint: Annotated[
        list[Path] | None,
        Parameter(
            name="--checkpoint", help="A checkpoint that somebody else kept, to hold the log against.", negative=""
        ),
    ] = None,
    node_key: Annotated[str | None, Parameter(help="Address (ss58) of the node whose log it has to be.")] = None,
    json: Annotated[
        bool, Parameter(name="--json", help="Print one JSON object.", negative="", show_default=False)
    ] = False,
) -> int:
    """Prove what a data folder holds, from its bytes, and say what does not hold.

    Every frame of the log is checked (checksum, position, time, Merkle root), every body against its id and the events
    that name it, every checkpoint's signature and root, and the state tries at every commitment, folded anew from the
    events. The log is folded into fresh tables, off the folder, and their digest compared with state.db's; the index
    and the projections of plug-ins are held against the log. Nothing is changed and no lock is taken. Room for a second
    state.db is needed in the folder for temporary files (TMPDIR).

    Exit code 0: sound. 1: something does not hold; each finding names file and offset. 3: there is no data folder.
    """
    from engram.cli._audit_progress import AuditProgress
    from engram.cli._audit_report import as_json, as_table, as_text
    from engram.runtime import ReadOnlyDisk
    from engram.store import audit as audit_folder

    given = [_given(path) for path in checkpoint or []]
    started = time.perf_counter()
    with _ordered(data, given, _key(node_key)) as order, AuditProgress() as progress:
        report = audit_folder(ReadOnlyDisk(), order, progress.tell, lambda: time.sleep(_PAUSE_S))
    seconds = time.perf_counter() - started
    form = as_json if json else as_table if sys.stdout.isatty() else as_text
    say(form(report, data, seconds))
    return OK if report.status == "sound" else FAILED


@contextlib.contextmanager
def _ordered(data: Path, given: list[GivenCheckpoint], node_key: bytes | None) -> Iterator[AuditOrder]:
    """Say what is to be audited, in a scratch folder that goes again."""
    from engram.runtime import RealDisk
    from engram.store import AuditOrder, unpacked

    path = data.absolute()
    is_folder = _is_folder(path, data)
    with tempfile.TemporaryDirectory(prefix="engram-audit-") as scratch:
        folder = path if is_folder else unpacked(RealDisk(), path, Path(scratch) / "unpacked")
        yield AuditOrder(folder, Path(scratch), given, _claims(folder), node_key)


def _is_folder(path: Path, said: Path) -> bool:
    """Say whether it is a folder; if not, it is a memory in one file, packed or open just now."""
    try:
        if not path.exists() and path.with_name(f"{path.name}.d").is_dir():
            return False
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise Unreachable(f"no memory in {said}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise Unreachable(f"no memory in {said}: it is neither a folder nor a file; give the data folder of a node")
    return stat.S_ISDIR(mode)


def _claims(folder: Path) -> list[Claim]:
    """Say of which log the projections of plug-ins are."""
    from engram.runtime import ReadOnlyDisk, folded_files
    from engram.store import Claim

    try:
        found = folded_files(ReadOnlyDisk(), folder / "projections")
    except OSError as error:
        return [Claim("projections", fault=f"it cannot be read: {error.strerror or error}")]
    return [Claim(f"projections/{one.file}", one.size, one.root, one.fault) for one in found]


def _given(path: Path) -> GivenCheckpoint:
    from engram.runtime import ReadOnlyDisk
    from engram.store import GivenCheckpoint

    try:
        file = ReadOnlyDisk().open(path.absolute(), writable=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--checkpoint {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return GivenCheckpoint(str(path), file.read(0, _NOTE_BYTES + 1))
    finally:
        file.close()


def _key(address: str | None) -> bytes | None:
    from engram.errors import EngramError
    from engram.identity import from_ss58

    try:
        return None if address is None else from_ss58(address)
    except EngramError as error:
        raise UsageError(f"--node-key: {error.message}") from None
