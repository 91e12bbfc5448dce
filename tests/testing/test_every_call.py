"""A crash at every call of the disk. All of 200 operations: `scripts/crash_every_call.py`."""

import pytest

from engram.testing import SimFile, crash_every_call


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_at_every_call_loses_nothing_acknowledged(seed):
    outcome = crash_every_call(seed, 20)
    assert not outcome.failure
    assert outcome.calls > 100
    assert outcome.restarts > 500


@pytest.mark.parametrize("folder", ["/events/", "/bodies/"])
def test_without_one_sync_it_loses_something(monkeypatch, folder):
    settle = SimFile._sync
    monkeypatch.setattr(SimFile, "_sync", lambda self, call: None if folder in self._inode.path else settle(self, call))
    assert "a crash at call" in crash_every_call(1, 20).failure
