"""The reading half of a store: records by CID, by content, in order, and by nearness; any thread may ask.

Whoever reads sees the snapshot that was published last, or the tables through a connection of their own. What is given
to a caller was proved first: the body that stands at a location is the one that was asked for, and its checksum holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from engram import cid as cids
from engram import filter as filters
from engram import record
from engram.documents import role_of
from engram.errors import BodiesCorrupt, NotFound, Unavailable
from engram.identity import PUBLIC_NAMESPACE, head_key
from engram.index import FilterPlan
from engram.store import _tables as tables
from engram.store._damage import DamageMarks
from engram.store._digest import EMPTY, digest_of
from engram.store._group import Namespace
from engram.store._tables import Count, Head, Version, View

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from engram.filter import Filter
    from engram.index import Allowed
    from engram.index import View as IndexView
    from engram.store._bodies import Bodies

T = TypeVar("T")

PUBLIC = Namespace(
    ns=PUBLIC_NAMESPACE, name="public", owner=None, model_version=record.CANONICAL_MODEL, dim=record.CANONICAL_DIM
)
"""The public namespace; it has no creation event, so what it is bound to is a constant."""


class Published(msgspec.Struct, frozen=True):
    """What readers see: every namespace's index, at one log position.

    Also the log's root, the tables' digest, and where the bodies end, there. `generation`: of the youngest index.
    """

    position: int
    root: bytes
    state_digest: bytes
    body_tail: int
    namespaces: Mapping[bytes, Namespace]
    indexes: Mapping[bytes, IndexView]
    generation: int = 0


class Found(msgspec.Struct, frozen=True):
    """A record that a query found. `parent`: the document that it is a chunk of."""

    digest: bytes
    score: float
    view: View
    parent: bytes | None = None


class Step(msgspec.Struct, frozen=True):
    """A step of a search: its name, how many rows it left, and how many microseconds it took."""

    name: str
    rows: int
    us: float


class Answer(msgspec.Struct, frozen=True):
    """What a search found, best first, and the log position it speaks for.

    `mode`: "exact", as brute force would; "fast", by the signs of the rows, where these have shown that they find the
    nearest (`docs/index.md`). `steps`: only where they were asked for.
    """

    found: list[Found]
    position: int
    mode: Literal["exact", "fast"]
    steps: list[Step]


class Asked(msgspec.Struct, frozen=True):
    """A query that was answered approximately, with the scores of what it found, the best first."""

    ns: bytes
    view: IndexView
    query: bytes
    k: int
    allowed: Allowed | None
    mode: str
    scores: list[float]


class Reader:
    """What a store holds, for any thread to read."""

    def __init__(self, bodies: Bodies, connect: Callable[..., sqlite3.Connection]) -> None:
        self._bodies = bodies
        self._connect = connect
        self._reader = connect(readonly=True)
        self._reading = threading.Lock()
        self._closed = False
        self._distrusted = False
        self.damage = DamageMarks(bodies.is_erased)
        """Which bodies are known not to be what they were."""
        self._asked: Asked | None = None
        self.published = Published(0, b"", EMPTY, 0, {}, {})

    @property
    def is_free(self) -> bool:
        """Whether nobody is reading from the tables, who would have to end first."""
        return not self._reading.locked()

    def known(
        self, ns: bytes, signer: bytes, content: bytes, metadata: bytes, model_version: str
    ) -> tuple[bytes, int] | None:
        """Find the living record of this content and metadata: (digest, position); it need not be embedded again.

        None too where its body, or that of a chunk of it, is damaged: putting it mends them.
        """
        # CROSS JOIN: from the few records of a content to their memberships, where SQLite would walk all of the
        # namespace's memberships; so in `with_content`.
        row: tuple[bytes, int, int] | None = self._row(
            f"""SELECT m.digest, m.position, m.location FROM records r CROSS JOIN memberships m ON m.digest = r.digest
                WHERE r.content = ? AND r.{tables.HAS_CONTENT} AND r.metadata = ? AND r.model_version = ?
                  AND m.ns = ? AND m.signer = ? AND m.alive
                ORDER BY m.digest LIMIT 1""",  # noqa: S608 (a constant)
            (content, hashlib.sha256(metadata).digest(), model_version, ns, signer),
        )
        return row[:2] if row is not None and self._is_whole(ns, row[0], row[2]) else None

    def _is_whole(self, ns: bytes, digest: bytes, location: int) -> bool:
        if not self.damage.ranges():
            return True
        chunks = self._look(lambda connection: tables.chunk_locations(connection, ns, digest))
        return not any(self.damage.is_at(at) for at in (location, *chunks))

    def get(self, ns: bytes, digest: bytes) -> View | None:
        """Find a record by its CID's digest, in a namespace."""
        row = self._row(
            """SELECT location FROM memberships INDEXED BY memberships_by_record
               WHERE ns = ? AND digest = ? AND alive LIMIT 1""",
            (ns, digest),
        )
        if row is None:
            return None
        view = self._proved(row[0], digest)
        if view is None:
            if self._bodies.is_erased(row[0]):
                return None
            raise BodiesCorrupt(
                f"the record {cids.from_digest(digest)} is damaged on this node's disk (`engram status` says where); "
                "restore the segment from a backup"
            )
        return view

    def lives_since(self, ns: bytes, digest: bytes) -> int | None:
        """Give the position of the event from which on a record lives in a namespace; None where it does not."""
        row: tuple[int | None] | None = self._row(
            """SELECT min(position) FROM memberships INDEXED BY memberships_by_record
               WHERE ns = ? AND digest = ? AND alive""",
            (ns, digest),
        )
        return None if row is None else row[0]

    def body(self, location: int) -> bytes | None:
        """Give the payload at a location, for a proof; None where it is not what was written any more.

        Of a record that was erased there and put again since, the same payload from where it is now.
        """
        if self.damage.is_at(location):
            return None
        body = self._body(location)
        if body is None and self._bodies.is_erased(location):
            row = self._row("SELECT location FROM bodies WHERE id = ?", (self._bodies.id_at(location),))
            return None if row is None or self.damage.is_at(row[0]) else self._body(row[0])
        return body

    def with_content(self, ns: bytes, content: bytes, limit: int) -> list[bytes]:
        """Give the digests, lowest first, of a namespace's records with this content; at most `limit`."""
        if content == cids.NO_CONTENT:
            return []  # the mark of records without content, which it would all find
        query = f"""SELECT DISTINCT m.digest FROM records r CROSS JOIN memberships m ON m.digest = r.digest
                    WHERE r.content = ? AND r.{tables.HAS_CONTENT} AND m.ns = ? AND m.alive
                    ORDER BY m.digest LIMIT ?"""  # noqa: S608 (a constant)
        rows = self._look(lambda connection: connection.execute(query, (content, ns, limit)).fetchall())
        return [digest for (digest,) in rows]

    def head(self, ns: bytes, key: str) -> Head | None:
        """Give what a key names in a namespace; None where it names nothing."""
        found = self._look(lambda connection: tables.head(connection, head_key(ns, key)))
        return found if found is not None and found.digest else None

    def heads(self, ns: bytes, prefix: str, after: str | None, limit: int) -> list[Head]:
        """Give the first keys of a namespace behind `after` that begin with `prefix`, in the order of their bytes."""
        return self._look(lambda connection: tables.heads(connection, ns, prefix, after, limit))

    def versions(self, ns: bytes, key: str, after: int, limit: int) -> list[Version]:
        """Give the first versions of a key behind position `after`, oldest first."""
        return self._look(lambda connection: tables.versions(connection, head_key(ns, key), after, limit))

    def members(self, ns: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """Give (digest, signer) of some memberships that are alive in a namespace, but for those of chunks.

        With the chunks that go with them they are not more than `most`, or one of them is.
        """
        return self._look(lambda connection: tables.members(connection, ns, most))

    def ended(self, ns: bytes, after: bytes, limit: int) -> list[bytes]:
        """Give the records behind `after` that were deleted from a namespace, and whose bodies are kept."""
        return self._look(lambda connection: tables.ended(connection, ns, after, limit))

    def lives_in(self, digest: bytes, namespaces: Iterable[bytes]) -> bool:
        """Say whether a record lives in one of these namespaces."""
        return self._look(lambda connection: tables.lives_in(connection, digest, namespaces))

    def key_of_patch(self, patch: bytes) -> str | None:
        """Give the key that stands in a patch, by the patch's hash; None where it cannot be read."""
        row = self._row("SELECT location FROM bodies WHERE id = ?", (patch,))
        body = None if row is None else self._body(row[0], patch)
        return None if body is None else record.text_in_patch(body, "key")

    def browse(
        self,
        ns: bytes,
        accept: Callable[[dict[str, Any]], bool] | None,
        offset: int,
        limit: int,
        *,
        chunks: bool = False,
        page_bytes: int | None = None,
        after: int = 0,
    ) -> tuple[list[tuple[bytes, View]], int | None]:
        """Give up to `limit` records whose metadata is accepted, oldest first, and what more come `after`, if any do.

        Counting from `offset` walks all that come before it; from `after`, a position, nothing is walked.
        The chunks of long texts are left out, unless `chunks` says otherwise. No record but the first is given that
        would bring the payloads over `page_bytes`.
        """
        size, last = 0, after
        found: list[tuple[bytes, View]] = []
        self._check_trusted()
        with self._reading:
            self._check_open()
            for digest, location, position in tables.visible_records(self._reader, ns, chunks=chunks, after=after):
                if self.damage.is_at(location):
                    continue
                if accept is not None and not accept(self._metadata(location)):
                    continue
                if offset:
                    offset -= 1
                    continue
                view = self._proved(location, digest)
                if view is None:
                    continue
                size += view.size
                if len(found) == limit or (found and page_bytes is not None and size > page_bytes):
                    return found, last
                found.append((digest, view))
                last = position
        return found, None

    def search(
        self,
        ns: bytes,
        query: bytes,
        top_k: int,
        tree: Filter | None,
        *,
        exact: bool = False,
        explain: bool = False,
        born: int | None = None,
    ) -> Answer:
        """Find the nearest records by cosine, filtered before the search; as brute force would where `exact`.

        Of a long text's chunks only the nearest is given: `top_k` counts documents, and records that are in none.
        `born`: the position of the namespace's creation, as whoever made the query saw it; None: whatever it is.
        Raises `NotFound` where it has gone since.
        """
        self._check_trusted()
        published = self.published
        view = published.indexes.get(ns)
        space = published.namespaces.get(ns)
        if born is not None and (space is None or space.position != born):
            self._check_open()
            raise NotFound("the namespace was deleted meanwhile", field="namespace")
        if view is None:
            self._check_open()
            return Answer([], published.position, "exact", [])
        allowed = None
        filtered: list[tuple[str, int, float]] = []
        if tree is not None:
            allowed, filtered = view.allow(FilterPlan(tree, filters.value_test), explain=explain)
        k = top_k
        while True:
            before = self.damage.overwritings
            hits, mode, steps, damaged = view.search(
                query, k, exact=exact, allowed=allowed, excluded=self.damage.ranges(), explain=explain
            )
            self._check_open()  # or what was not found may be there
            if damaged:
                self.damage.meet(damaged, before)
            if self._asked is None and mode != "exact":
                self._asked = Asked(ns, view, query, k, allowed, mode, [hit[2] for hit in hits])
            found = _grouped(hits)
            # The hits begin the whole ranking, so their groups begin those of all of it.
            if len(found) >= top_k or len(hits) < k:
                return Answer(found[:top_k], published.position, mode, [Step(*step) for step in [*filtered, *steps]])
            k *= _MORE_HITS

    def take_asked(self) -> Asked | None:
        """Give a query that was answered approximately since this was asked last, if there was one."""
        asked, self._asked = self._asked, None
        return asked

    def replay(self, asked: Asked) -> list[float]:
        """Give the scores of the rows that are nearest indeed, the best first."""
        hits, *_ = asked.view.search(
            asked.query, asked.k, exact=True, allowed=asked.allowed, excluded=self.damage.ranges()
        )
        return [hit[2] for hit in hits]

    def _proved(self, location: int, digest: bytes | None = None) -> View | None:
        """Give a record whose body is still what was written; None, and remember it, where it is not."""
        if self.damage.is_at(location):
            return None
        before = self.damage.overwritings
        body = self._body(location, digest)
        if body is None:
            self.damage.meet((location,), before)
            return None
        return View(body)

    def _body(self, location: int, body_id: bytes | None = None) -> bytes | None:
        """Give a body that is still what was written. `Unavailable` where it is not seen since its file was closed."""
        body = self._bodies.proved(location, body_id)
        if body is None:
            self._check_open()
        return body

    def _metadata(self, location: int) -> dict[str, Any]:
        """Give the metadata that a filter looks at, unproved; none where they cannot be read."""
        if self.damage.is_at(location):
            return {}
        try:
            return record.decode_metadata(bytes(View(self._bodies.read(location)).metadata))
        except (ValueError, BodiesCorrupt):
            return {}

    def count(self, ns: bytes | None = None) -> int:
        """Count the living records of a namespace, or of all."""
        return self.tally(ns).records

    def tally(self, ns: bytes | None = None) -> Count:
        """Count the living records of a namespace, or of all, and the chunks among them."""
        row = self._row("SELECT records, chunks FROM tallies WHERE ns = ?", (tables.EVERYWHERE if ns is None else ns,))
        return Count(*row) if row else Count()

    def chunks(self, ns: bytes, digest: bytes) -> int:
        """Count a document's living chunks in a namespace; 0 for any other record."""
        # Not all that name it as parent: by another model, whose bits vary, a put after a delete may bring other ones.
        count: int = self._row(
            """SELECT count(DISTINCT m.digest) FROM records r CROSS JOIN memberships m ON m.digest = r.digest
               WHERE r.parent = ? AND m.ns = ? AND m.alive""",
            (digest, ns),
        )[0]
        return count

    @property
    def state_digest(self) -> bytes:
        """The digest of the tables' rows, at the published position: the same for every fold of this log and bodies."""
        return self.published.state_digest

    def verify_state(self) -> bool:
        """Count the digest again from every row, as one commit left them; say whether it is the one that they say."""
        with contextlib.closing(self.open_tables()) as connection:
            connection.execute("BEGIN")
            progress = tables.progress_of(connection)
            return progress is not None and progress.digest == digest_of(connection, tables.FOLDED)

    def distrust_tables(self) -> None:
        """Refuse to read from the tables, and from the indexes that were made of them, until `refold`."""
        self._distrusted = True

    def open_tables(self) -> sqlite3.Connection:
        """Open the tables to read them elsewhere than here."""
        return self._connect(readonly=True)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("this memory is closed; open it again")

    def _check_trusted(self) -> None:
        if self._distrusted:
            raise Unavailable("the tables in state.db went wrong and are being folded again", retry_after_s=5)

    def _close_reader(self) -> None:
        with self._reading:
            self._reader.close()

    def _row(self, query: str, values: tuple[Any, ...]) -> Any:
        return self._look(lambda connection: connection.execute(query, values).fetchone())

    def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        self._check_trusted()
        with self._reading:
            self._check_open()
            return look(self._reader)


def _grouped(hits: Iterable[tuple[bytes, int, float, bytes]]) -> list[Found]:
    best: dict[bytes, Found] = {}
    for digest, _, score, payload in hits:
        view = View(payload)
        parent = role_of(bytes(view.metadata)).parent
        best.setdefault(parent or digest, Found(digest, score, view, parent))
    return list(best.values())


_MORE_HITS = 16
"""How many times more hits are asked for where the first are chunks of too few documents."""
