"""Queries that were answered fast are answered again exactly, and what that shows widens the fast mode for good."""

from __future__ import annotations

import shutil

import msgspec
import numpy as np
import pytest
from index import datasets
from store.test_store import NOW, open_store

from engram import filter as filters
from engram import record
from engram.events import RecallMeasured
from engram.index import Measure
from engram.store import PUBLIC, DeleteOperation, MeasureOperation, PutOperation, RecallCheck

ROWS = 20_480


@pytest.fixture(scope="module")
def vectors():
    values = datasets.SETS["embeddings"](np.random.default_rng(1), ROWS + 20)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, vectors):
    """Make a data folder whose public namespace has earned the fast mode."""
    path = tmp_path_factory.mktemp("recall") / "data"
    store = open_store(path)
    for start in range(0, ROWS, 4096):
        payloads = (
            record.encode_vector(record.stored_vector(row), record.canonical_metadata({"n": start + at}), "v1")
            for at, row in enumerate(vectors[start : min(start + 4096, ROWS)])
        )
        store.commit([PutOperation(PUBLIC.ns, *payload, store.key.public) for payload in payloads], NOW)
    store.close(NOW)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "data")


@pytest.fixture
def store(copy):
    store = open_store(copy)
    yield store
    store.close(NOW)


def search(store, vector, **options):
    return store.search(PUBLIC.ns, vector.tobytes(), 10, None, **options)


def rows_by_signs(store, vector):
    steps = {step.name: step.rows for step in search(store, vector, explain=True).steps}
    return steps["signs"]


def measured(**changes):
    facts = {"ns": PUBLIC.ns, "mode": "fast", "queries": 64, "expected": 640, "found": 600, "widening": 4}
    return MeasureOperation(RecallMeasured(**facts | changes))


def test_one_query_that_was_answered_fast_is_replayed_and_no_other(store, vectors):
    check = RecallCheck(store)
    assert check.step(0.0) == (False, None)
    exact = search(store, vectors[-1], exact=True)
    few = store.search(PUBLIC.ns, vectors[-1].tobytes(), 10, filters.parse("n < 100"))
    assert (exact.mode, few.mode) == ("exact", "exact")
    assert check.step(1.0) == (False, None)
    assert [search(store, vector).mode for vector in vectors[-5:]] == ["fast"] * 5
    assert check.step(2.0) == (True, None)
    assert check.step(3.0) == (False, None)
    latest = check.latest(PUBLIC.ns)
    assert (latest.mode, latest.queries, latest.expected, latest.widening) == ("fast", 1, 10, 1)
    nearest = {item.digest for item in search(store, vectors[-5], exact=True).found}
    assert latest.found == len({item.digest for item in search(store, vectors[-5]).found} & nearest)


def test_what_was_asked_is_replayed_as_of_when_it_was_asked(store, vectors):
    check = RecallCheck(store)
    answer = search(store, vectors[-1])
    store.commit([DeleteOperation(PUBLIC.ns, answer.found[0].digest, store.key.public)], NOW)
    assert check.step(0.0) == (True, None)
    assert check.latest(PUBLIC.ns).expected == 10
    assert check.latest(PUBLIC.ns).found == 10  # the deleted one too, which was the nearest then


def test_a_mode_that_finds_too_little_is_found_out(store, vectors):
    check, kept = RecallCheck(store), []
    for number in range(16):
        search(store, vectors[-1 - number])
        asked = store.take_asked()
        worse = [score - 1.0 if at % 2 else score for at, score in enumerate(asked.scores)]
        store._asked = type(asked)(asked.ns, asked.view, asked.query, asked.k, asked.allowed, asked.mode, worse)
        kept.append(check.step(float(number))[1])
    assert kept[:15] == [None] * 15
    assert kept[15] == measured(queries=16, expected=160, found=80, widening=2)


def test_of_a_namespace_that_is_gone_nothing_is_replayed_or_kept(store, vectors):
    """What was kept of it was refused, and nothing was replayed for a minute; one of its name would have had it."""
    check = RecallCheck(store)
    search(store, vectors[-1])
    store._asked = msgspec.structs.replace(store.take_asked(), ns=b"g" * 32)
    assert check.step(0.0) == (True, None)
    assert check.latest(b"g" * 32) is None


def test_a_widening_is_durable_and_has_more_rows_looked_at(copy, vectors):
    store = open_store(copy)
    before = rows_by_signs(store, vectors[-1])
    [done] = store.commit([measured()], NOW)
    assert store.published.position == done.position + 1
    assert rows_by_signs(store, vectors[-1]) == 4 * before
    store.close(NOW)
    again = open_store(copy)
    assert rows_by_signs(again, vectors[-1]) == 4 * before
    assert RecallCheck(again).latest(PUBLIC.ns) == Measure("fast", 64, 640, 600, 4)
    assert again.verify_state()
    again.commit([measured(widening=64)], NOW)
    assert search(again, vectors[-1]).mode == "exact"  # so wide that codes do it better
    again.refold()
    assert search(again, vectors[-1]).mode == "exact"
    again.close(NOW)
