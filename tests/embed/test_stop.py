"""A call to the embedder ends early once its `Stop` is set."""

import threading
import time

import pytest

from engram.errors import Unavailable
from engram.native import _core


def test_stop_is_set_once_and_for_all():
    stop = _core.Stop()
    assert not stop.is_set
    stop.set()
    stop.set()
    assert stop.is_set


def test_a_stop_that_is_not_set_changes_nothing(embedder, reference):
    texts = reference[0][:8]
    assert embedder.embed(texts, _core.Stop()) == embedder.embed(texts)


def test_a_set_stop_ends_the_call_before_the_first_text(embedder):
    stop = _core.Stop()
    stop.set()
    with pytest.raises(_core.Stopped, match="stopped"):
        embedder._native.embed(["a text"], stop)
    with pytest.raises(Unavailable, match="stopped"):
        embedder.embed(["a text"], stop)


def test_a_stop_set_by_another_thread_ends_a_call_under_way(embedder, reference):
    texts = reference[0]
    start, spent = time.monotonic(), time.process_time()
    embedder.embed(texts)
    once, spent = time.monotonic() - start, time.process_time() - spent
    stop = _core.Stop()
    timer = threading.Timer(once, stop.set)
    timer.start()
    start = time.process_time()
    with pytest.raises(Unavailable):
        embedder.embed(texts * 40, stop)
    assert time.process_time() - start < 20 * spent  # and not by the clock, which others' work keeps going
    timer.join()
