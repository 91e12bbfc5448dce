"""The gate of an open memory: closing waits for who is inside, and nobody comes in after."""

from __future__ import annotations

import signal
import threading

import pytest

from engram.errors import Unavailable
from engram.node._gate import Gate


def gate():
    return Gate(lambda: Unavailable("closed"))


def test_it_gives_what_the_read_gives_and_raises_what_it_raises():
    ours = gate()
    assert ours.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        ours.run(lambda: 1 // 0)
    assert not ours.holds_me
    ours.close()


def test_nobody_comes_in_once_it_is_closed():
    ours, read = gate(), []
    ours.close()
    with pytest.raises(Unavailable, match="closed"):
        ours.run(lambda: read.append(1))
    assert not read
    ours.close()


def test_closing_waits_for_the_last_one_inside():
    ours, inside, may_leave, order = gate(), threading.Barrier(3), threading.Event(), []

    def read():
        inside.wait()
        may_leave.wait()
        order.append("read")

    readers = [threading.Thread(target=ours.run, args=(read,)) for _ in range(2)]
    closer = threading.Thread(target=lambda: (ours.close(), order.append("closed")))
    for thread in readers:
        thread.start()
    inside.wait()
    closer.start()
    with pytest.raises(Unavailable):
        while True:
            ours.run(lambda: None)
    assert closer.is_alive()
    may_leave.set()
    for thread in (*readers, closer):
        thread.join(20)
    assert order == ["read", "read", "closed"]


def test_a_read_within_a_read_is_let_in():
    ours = gate()
    assert ours.run(lambda: (ours.holds_me, ours.run(lambda: 1))) == (True, 1)
    ours.close()


def test_an_interrupted_read_has_left(monkeypatch):
    ours = gate()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(300):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0003)
                while True:
                    ours.run(lambda: None)
            assert ours._inside == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    ours.close()
