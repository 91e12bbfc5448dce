"""An audit's look at `trie/tries`: whole, of this log, and the tries that the log's events give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.decoding import UNDECODABLE
from engram.store._audit._log import folder_bytes
from engram.store._tables import FOLD_VERSION
from engram.store._trie_file import FOLDER, NAME, header_of, tries_of

if TYPE_CHECKING:
    from pathlib import Path

    from engram.events import TrieRoot
    from engram.ports import Disk
    from engram.store._audit._report import Ledger
    from engram.store._trie_file import Header

FILE = f"{FOLDER}/{NAME}"
_LEAST_BYTES = 1 << 20


class TrieSnapshot:
    """The snapshot of a folder. `position`: of how many events it is; None where there is nothing to compare."""

    def __init__(self, disk: Disk, path: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        self._header: Header | None = None
        if not disk.exists(path / FILE):
            return
        ledger.count("projections")
        try:
            header, rest = header_of(_read(disk, path))
            if header.fold_version != FOLD_VERSION:
                ledger.note("projections", f"{FILE} is of another build's fold, which the next start passes over")
                ledger.count("projections", -1)
                return
            tries_of(header, rest)
        except OSError as error:
            self._wrong(f"it cannot be read: {error.strerror or error}")
        except (ValueError, *UNDECODABLE) as error:
            self._wrong(str(error))
        else:
            self._header = header

    @property
    def position(self) -> int | None:
        """Of how many events it is."""
        return self._header.position if self._header else None

    def hold(self, size: int, root: bytes | None, tries: dict[str, TrieRoot] | None, *, whole: bool) -> None:
        """Hold it against the log. `root`, `tries`: the log's at its position; `whole`: all of it is there."""
        said = self._header
        if said is None:
            return
        if said.position > size and not whole:
            self._ledger.note("projections", f"{FILE} was not compared: the log is damaged before its position")
        elif root != said.root or tries is None:
            self._wrong(f"the log has another root at its position, {said.position}: it is of another log")
        elif [tries["records"].root, tries["heads"].root] != [said.records, said.heads]:
            self._wrong("its tries are not those that the log folds to")
        else:
            self._ledger.count("projections", 0, 1)

    def _wrong(self, reason: str) -> None:
        self._ledger.found("projections", FILE, None, reason)


def _read(disk: Disk, path: Path) -> memoryview:
    """Read the file, where it is no larger than the tries of such a log are. Raises `OSError`, `ValueError`."""
    most = _LEAST_BYTES + folder_bytes(disk, path)
    file = disk.open(path / FILE, writable=False)
    try:
        if file.size() > most:
            raise ValueError(f"its {file.size()} bytes are more than the tries of this log have")
        return memoryview(file.read(0, most))
    finally:
        file.close()
