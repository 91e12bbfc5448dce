"""The idle scrub: everything that was written is read again, a piece at a call, for as long as the folder is open.

Theory of operation. A pass goes over the log from its beginning, the body segments, and the tables; each call looks at
about a mebibyte, so who calls decides how fast. The place is kept on disk: a pass over a large folder goes on where the
process before left it. A place that was kept proves nothing, so damage in the log that is found from one is looked for
again from the log's beginning before it is believed.

What is found is kept and told. Of the log: the store ends, and opening proves the whole log. Of a body: its record is
refused to who gets it, and left out of searches and lists, until a later pass finds it mended. Of the tables: nothing
is read from them until they are folded again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from engram.events import SEGMENT_BYTES, size_of
from engram.store._frames import HEADER
from engram.store._place import Finding, LogPlace, Part, Pass, load, save
from engram.store._verify_bodies import BodiesVerifier, ranges_of, still_damaged
from engram.store._verify_log import Damage, LogVerifier, Look
from engram.store._verify_tables import TablesVerifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram.store._store import Store

DAY_NS = 24 * 3600 * 10**9
"""How long after a pass the next one begins."""

FINDINGS = 1000
"""How many findings are kept; what is found beyond them is not told."""

_SAVE_BYTES = 64 << 20
_PARTS: dict[str, Part] = {"events": "log", "bodies": "bodies", "state.db": "tables"}
_NEXT: dict[Part, Part | None] = {"log": "bodies", "bodies": "tables", "tables": None}
_GONE = {errno.EIO, errno.ENOENT}


class Stepped(msgspec.Struct, frozen=True):
    """What one step did: how much it read, what it found, and whether it ended a pass."""

    size_bytes: int = 0
    findings: tuple[Finding, ...] = ()
    completed: bool = False


class Scrub:
    """The scrub of an open store. `step` and `close` belong to one thread; `place` may be read from any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._disk = store.folder.disk
        self._path = store.folder.path
        self._log: LogVerifier | None = None
        self._bodies: BodiesVerifier | None = None
        self._tables: tuple[int, TablesVerifier] | None = None
        self._met: frozenset[int] = frozenset()
        """What readers had met when the pass began, which it looks at."""
        self._unsaved = 0
        self._saved = kept = load(self._disk, self._path)
        self._from_disk = kept.part == "log"
        # Opening has proved the whole log and folded the tables again, where damage of them was known.
        findings = still_damaged(self._disk, self._path, kept.findings, store.published.body_tail)
        self.place = msgspec.structs.replace(kept, findings=findings)
        """Where it stands and what it has found; replaced as a whole."""
        self._mark()
        if len(findings) < len(kept.findings):
            self._save()

    def due_s(self, now_ns: int) -> float:
        """Say in how many seconds a step is due: at once while a pass is under way."""
        store = self._store
        if self.place.part is not None or self.place.last is None or store.damage.met or store.damage.overwritten:
            return 0.0
        wait_ns = self.place.last.finished_unix_ns + DAY_NS - now_ns
        return max(0, min(wait_ns, DAY_NS)) / 1e9

    def step(self, now_ns: int) -> Stepped:
        """Look at one more piece, or begin a pass. Raises `OSError` where a file cannot be read but is not damaged."""
        if self._store.damage.overwritten:
            self._look_again()
        if self.place.part is None:
            self._put(part="log", started_unix_ns=now_ns, log=LogPlace(), body_location=0, size_bytes=0)
            self._from_disk = False
            self._met = self._store.damage.met
        part = self.place.part
        assert part is not None
        look = {"log": self._look_at_log, "bodies": self._look_at_bodies, "tables": self._look_at_tables}[part]()
        findings = tuple(self._finding(damage, now_ns) for damage in look.damages)
        if part != "tables":
            self._put(size_bytes=self.place.size_bytes + look.size_bytes)
        self._keep(findings)
        if look.done:
            self._end(part, now_ns)
        self._unsaved += look.size_bytes
        if look.done or findings or self._unsaved >= _SAVE_BYTES:
            self._save()
        return Stepped(look.size_bytes, findings, look.done and part == "tables")

    def _look_again(self) -> None:
        """Forget what was found of bodies that were put again, or erased, since."""
        self._store.damage.look_again()
        tail = self._store.published.body_tail
        others = [finding for finding in self.place.findings if finding.part != "bodies"]
        self._put(findings=[*others, *still_damaged(self._disk, self._path, self.place.findings, tail)])
        self._mark()
        self._save()

    def close(self) -> None:
        """Keep the place, and close what is open."""
        self._drop_tables()
        if self.place != self._saved:
            self._save()

    # -- the parts ----------------------------------------------------------------------------------------------------

    def _look_at_log(self) -> Look:
        published = self._store.published
        try:
            if self._log is None:
                self._log = LogVerifier(self._disk, self._path / "events", self.place.log)
            look = self._log.step(published.position, published.root)
        except ValueError:
            look = Look(damages=(Damage("events", 0, 0, "the place that was kept is in no log"),))
        except OSError as error:
            look = self._unreadable(f"events/{self.place.log.first:020}.log", self.place.log.offset, error)
        if look.damages and self._from_disk:
            self._log, self._from_disk = None, False
            self._put(log=LogPlace())
            return Look(look.size_bytes)
        if self._log is not None:
            self._put(log=self._log.place)
        return msgspec.structs.replace(look, done=True) if look.damages else look

    def _look_at_bodies(self) -> Look:
        if self._bodies is None:
            self._bodies = BodiesVerifier(self._disk, self._path / "bodies", self.place.body_location)
        try:
            look = self._bodies.step(self._store.published.body_tail)
        except OSError as error:
            number, offset = divmod(self._bodies.location, SEGMENT_BYTES)
            look = self._unreadable(f"bodies/{number:020}.seg", offset, error, SEGMENT_BYTES - offset)
            self._bodies.skip()
        self._put(body_location=self._bodies.location)
        return look

    def _look_at_tables(self) -> Look:
        position = self._store.published.position
        if self._tables is not None and self._tables[0] != position:
            self._drop_tables()  # something was written: what they are now is another reading, and holds no old one
        if self._tables is None:
            self._tables = position, TablesVerifier(self._store.open_tables, self._misplaced)
        return self._tables[1].step()

    def _drop_tables(self) -> None:
        if self._tables is not None:
            self._tables[1].close()
            self._tables = None

    def _misplaced(self, body_id: bytes, location: int) -> Damage | None:
        number, offset = divmod(location, SEGMENT_BYTES)
        if self._store.damage.is_at(location):
            return None
        name = f"bodies/{number:020}.seg"
        try:
            found = self._store.body_at(location)
            end = size_of(self._disk, self._path / name) if found is None else 0
        except OSError as error:
            return self._unreadable(name, 0, error, SEGMENT_BYTES).damages[0]
        if found is None:
            return Damage(name, end, SEGMENT_BYTES - end, "it has lost its end")
        return None if found == body_id else Damage(name, offset, HEADER, "another body stands there")

    def _unreadable(self, file: str, offset: int, error: OSError, size: int = 0) -> Look:
        if error.errno not in _GONE:
            raise error
        return Look(damages=(Damage(file, offset, size, f"it cannot be read: {error.strerror}"),))

    # -- the place ----------------------------------------------------------------------------------------------------

    def _finding(self, damage: Damage, now_ns: int) -> Finding:
        part = _PARTS[damage.file.split("/", maxsplit=1)[0]]
        return Finding(part, damage.file, damage.offset, damage.size_bytes, damage.reason, now_ns)

    def _keep(self, findings: Iterable[Finding]) -> None:
        known = {(finding.file, finding.offset): finding for finding in self.place.findings}
        known |= {(finding.file, finding.offset): finding for finding in findings}
        self._put(findings=list(known.values())[-FINDINGS:])
        self._mark()

    def _end(self, part: Part, now_ns: int) -> None:
        self._log = self._bodies = None
        self._drop_tables()
        self._put(part=_NEXT[part])
        if part != "tables":
            return
        self._store.damage.forget_met(self._met)
        started = self.place.started_unix_ns
        self._put(
            findings=[finding for finding in self.place.findings if finding.found_unix_ns >= started],
            last=Pass(started, max(now_ns, started), self.place.size_bytes),
        )
        self._mark()

    def _mark(self) -> None:
        self._store.damage.find(ranges_of(self.place.findings))

    def _put(self, **changed: object) -> None:
        self.place = msgspec.structs.replace(self.place, **changed)

    def _save(self) -> None:
        self._unsaved, self._saved = 0, self.place
        try:
            save(self._disk, self._path, self.place)
        except OSError:
            return  # a full disk, say: the place is kept in memory, and the next pass begins anew
