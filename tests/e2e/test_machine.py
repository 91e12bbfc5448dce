"""A memory against a dict and numpy: whatever is put, deleted, asked and reopened, in any order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from e2e.processes import code_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import engram

SPACE, DIM = "small", 4
NEAR = 1e-6

numbers = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
vectors = st.tuples(*[numbers] * DIM).filter(any)
tags = st.integers(0, 3)


def cosine(a, b):
    a, b = np.array(a), np.array(b)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


class MemoryMachine(RuleBasedStateMachine):
    @initialize()
    def open_new(self):
        self.path = Path(tempfile.mkdtemp())
        self.memory = engram.open(self.path)
        self.memory.namespaces.create(SPACE, DIM, "test/4")
        self.names: dict[tuple, str] = {}  # what was ever put -> its CID
        self.alive: dict[str, tuple] = {}  # CID -> (vector, tag), oldest first
        self.position = 2

    def teardown(self):
        if hasattr(self, "memory"):
            self.memory.close()
            shutil.rmtree(self.path)

    @rule(vector=vectors, tag=tags)
    def put(self, vector, tag):
        cid = self.memory.ingest_embedding(vector, {"tag": tag}, namespace=SPACE)
        assert self.names.setdefault((vector, tag), cid) == cid
        assert len(set(self.names.values())) == len(self.names)
        if cid not in self.alive:
            self.alive[cid] = (vector, tag)
            self.position += 1

    @rule(batch=st.lists(st.tuples(vectors, tags), max_size=8))
    def put_many(self, batch):
        cids = self.memory.ingest_embeddings(
            [vector for vector, _ in batch], [{"tag": tag} for _, tag in batch], namespace=SPACE
        )
        for (vector, tag), cid in zip(batch, cids, strict=True):
            assert self.names.setdefault((vector, tag), cid) == cid
            self.position += cid not in self.alive
            self.alive.setdefault(cid, (vector, tag))

    @rule(data=st.data())
    def delete(self, data):
        if not self.names:
            return
        cid = data.draw(st.sampled_from(sorted(self.names.values())))
        if cid in self.alive:
            assert self.memory.delete(cid, namespace=SPACE)
            del self.alive[cid]
            self.position += 1
        else:
            assert code_of(self.memory.delete, cid, namespace=SPACE).code == "not_found"

    @rule(query=vectors, top_k=st.integers(1, 12), least=st.none() | tags)
    def query(self, query, top_k, least):
        spec = None if least is None else {"tag": {"$gte": least}}
        hits = self.memory.query_by_vector(query, top_k, spec, SPACE)
        scores = {
            cid: cosine(vector, query) for cid, (vector, tag) in self.alive.items() if least is None or tag >= least
        }
        assert len(hits) == min(top_k, len(scores))
        assert [hit.cid for hit in hits] == [hit.cid for hit in sorted(hits, key=lambda hit: (-hit.score, hit.cid))]
        for hit in hits:
            assert abs(hit.score - scores.pop(hit.cid)) < NEAR
            assert hit.metadata == {"tag": self.alive[hit.cid][1]}
        if hits:
            assert max(scores.values(), default=-2.0) <= hits[-1].score + NEAR
            self._ties(hits, scores)

    def _ties(self, hits, left_out):
        """Of vectors of one direction, which tie to the bit, those with lower CIDs come first."""
        last = hits[-1]
        for cid in left_out:
            if np.array_equal(_direction(self.alive[cid][0]), _direction(self.alive[last.cid][0])):
                assert last.cid < cid

    @rule(data=st.data())
    def get(self, data):
        if not self.names:
            return
        (vector, tag), cid = data.draw(st.sampled_from(sorted(self.names.items())))
        if cid in self.alive:
            record = self.memory.get(cid, SPACE, include_vector=True)
            assert (record.metadata, record.text, record.dim) == ({"tag": tag}, None, DIM)
            assert np.array_equal(np.frombuffer(record.vector, "<f4"), np.array(vector, "f4"))
        else:
            assert code_of(self.memory.get, cid, SPACE).code == "not_found"

    @rule(limit=st.integers(1, 10), offset=st.integers(0, 10), tag=st.none() | tags)
    def list(self, limit, offset, tag):
        spec = None if tag is None else {"tag": tag}
        wanted = [cid for cid, (_, found) in self.alive.items() if tag is None or found == tag]
        page = self.memory.list(spec, limit, offset, SPACE)
        assert [record.cid for record in page] == wanted[offset : offset + limit]

    @rule()
    def reopen(self):
        self.memory.close()
        self.memory = engram.open(self.path)
        self.position = self.memory.status().position  # a close may add its checkpoint's event

    @invariant()
    def counts(self):
        if hasattr(self, "memory"):
            status = self.memory.status()
            assert (status.records, status.position) == (len(self.alive), self.position)


def _direction(vector):
    values = np.array(vector)
    return values / np.abs(values).max()


ANY_SPEED = settings(deadline=None, stateful_step_count=30, suppress_health_check=list(HealthCheck))


def test_a_memory_is_what_was_put_into_it():
    run_state_machine_as_test(MemoryMachine, settings=settings(ANY_SPEED, max_examples=8))


@pytest.mark.slow  # minutes
def test_a_memory_is_what_was_put_into_it_a_hundred_times():
    run_state_machine_as_test(MemoryMachine, settings=settings(ANY_SPEED, max_examples=100, stateful_step_count=60))
