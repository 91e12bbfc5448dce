"""A small memory in this process: what the commands talk to in these tests. It finds by shared words."""

# ruff: noqa: A002, ARG002 - the API's words; what it does not need, it ignores

from __future__ import annotations

import hashlib
import json
import struct
from contextlib import contextmanager

from engram.errors import BadRequest, Conflict, EngramError, NotFound, Unavailable, Unprocessable
from engram.sdk import Kept, Reindexed
from engram.wire import (
    ActorInfo,
    ActorsResult,
    Chunk,
    DeadLetterInfo,
    Hit,
    IndexStatus,
    ModelStatus,
    NamespaceInfo,
    QueryResult,
    Record,
    StatusResult,
    Step,
)


class SmallNamespaces:
    def __init__(self):
        self.infos = [NamespaceInfo(name="public", id="0" * 64, model_version="v1", dim=384)]

    def create(self, name, dim=None, model=None):
        if any(info.name == name for info in self.infos):
            raise Conflict(f"the namespace {name} exists", field="name")
        digest = hashlib.sha256(name.encode()).hexdigest()
        self.infos.append(NamespaceInfo(name=name, id=digest, model_version=model or "v1", dim=dim or 384))
        return self.infos[-1]

    def list(self):
        return list(self.infos)


class SmallMemory:
    def __init__(self):
        self.namespaces = SmallNamespaces()
        self.held_elsewhere = False
        self.records = {}
        self.filters = []
        self.chunks = {}
        self.on_long = []
        self.interrupt_after = None
        self.gone_after = None

    def ingest(self, text, metadata=None, namespace=None):
        return self.put(text, metadata, namespace=namespace).cid

    def put(self, text, metadata=None, *, key=None, namespace=None, on_long=None):
        """A word is a token, and three of them a record."""
        self._answer()
        self.on_long.append(on_long)
        if not text:
            raise Unprocessable("the text is empty", field="text")
        digest = hashlib.sha256(json.dumps([text, metadata, namespace]).encode()).hexdigest()
        record = Record(
            cid=f"v1::{digest}",
            content_cid=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            text=text,
            metadata=metadata or {},
            model_version="v1",
            dim=2,
            vector=struct.pack("<2f", 0.5, -0.25),
        )
        tokens = len(text.split())
        created = record.cid not in self.records
        chunks = self.chunks[record.cid] = 0 if tokens <= 6 else tokens // 3
        self.records.setdefault(record.cid, record)
        return Kept(cid=record.cid, created=created, tokens=tokens if created else None, chunks=chunks)

    def iter_ingest_file(self, path, namespace=None, model_version=None, on_long=None):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if self.interrupt_after is not None and number > self.interrupt_after:
                    raise KeyboardInterrupt
                try:
                    item = json.loads(line)
                    yield number, self.put(item["text"], item.get("metadata"), namespace=namespace, on_long=on_long)
                except (ValueError, KeyError, TypeError):
                    yield number, BadRequest(f"line {number}: not an object with a text", field="text")
                except EngramError as error:
                    yield number, error

    def explain(self, text, top_k=10, filter=None, namespace=None, exact=False):
        hits = self.query(text, top_k, filter, namespace, exact)
        steps = [Step(name="namespace", rows=1234567, us=0.25), Step(name="re-rank", rows=len(hits), us=1038.04)]
        return QueryResult(hits=hits, position=9, mode="exact" if exact else "fast", explain=steps)

    def query(self, text, top_k=10, filter=None, namespace=None, exact=False):
        self.exact = exact
        if not 1 <= top_k <= 1000:
            raise BadRequest(f"top_k must be 1 to 1000, not {top_k}", field="top_k")
        self.filters.append(filter)
        words = set(text.lower().split())
        scored = [
            (len(words & set(record.text.lower().split())) / max(len(words), 1), record)
            for record in self.records.values()
        ]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1].cid))[:top_k]
        return [Hit(cid=r.cid, score=score, metadata=r.metadata, **self._found(r)) for score, r in best]

    def _found(self, record):
        if not self.chunks[record.cid]:
            return {"text": record.text}
        part = " ".join(record.text.split()[-3:])
        span = (len(record.text) - len(part), len(record.text))
        return {"text": part, "chunk": Chunk(cid="v1::" + "c" * 64, index=self.chunks[record.cid] - 1, span=span)}

    def get(self, cid, namespace=None, include_vector=False):
        if cid not in self.records:
            raise NotFound(f"no memory {cid} in this namespace", field="cid")
        record = self.records[cid]
        vector = record.vector if include_vector else None
        more = {"vector": vector, "chunks": self.chunks[cid]}
        return Record(**{name: record[name] for name in record.__struct_fields__} | more)

    def list(self, filter=None, limit=50, offset=0, namespace=None, chunks=False):
        self.filters.append(filter)
        self.with_chunks = chunks
        return [self.get(cid) for cid in list(self.records)[offset : offset + limit]]

    def delete(self, cid, namespace=None, *, erase=False):
        if self.records.pop(cid, None) is None:
            raise NotFound(f"no record {cid} in this namespace", field="cid")
        return not (erase and self.held_elsewhere)

    def embed(self, text, model=None):
        return [0.5, -0.25]

    def _answer(self):
        if self.gone_after is not None and len(self.records) >= self.gone_after:
            raise Unavailable("no node answers", field="url")

    def reindex(self, namespace, into, model=None):
        self.namespaces.create(into, model=model)
        for number, cid in enumerate(list(self.records)):
            if self.interrupt_after is not None and number == self.interrupt_after:
                raise KeyboardInterrupt
            self._answer()
            yield Reindexed(old=cid, new=cid.replace("v1::", "m1::"), created=True)

    def status(self):
        self._answer()
        return StatusResult(
            version="0.1.0",
            role="miner",
            node_key="5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
            records=len(self.records) + sum(self.chunks.values()),
            chunks=sum(self.chunks.values()),
            namespaces=len(self.namespaces.infos),
            position=len(self.records) + 1,
            log_root="ab" * 32,
            model=ModelStatus(model_version="v1", dim=384, state="ready", kernel="avx2"),
            uptime_s=3725.0,
            data_dir="/srv/engram",
            log_bytes=262144,
            bodies_bytes=1048576,
            index=IndexStatus(rows=117659, sealed=1, head_rows=52123, mode="fast"),
        )

    def actors(self):
        self._answer()
        store = ActorInfo(name="store", state="running", essential=True, mailbox_limit=1024, handled=1234)
        census = ActorInfo(
            name="census", state="backing_off", waiting=3, mailbox_limit=64, applied=7, reacted=5, last_error="x.Y at z:1\x1b[2J",
        )  # fmt: skip
        letter = DeadLetterInfo(actor="census", message="Count", error="x.Y at z:1", time_unix_ns=1_700_000_000 * 10**9)
        return ActorsResult(actors=[store, census], dead_letters=[letter], position=9)


def opener_of(memory):
    """Open `memory` whatever the options say."""

    @contextmanager
    def opener(*, node, data, create):
        yield memory

    return opener
