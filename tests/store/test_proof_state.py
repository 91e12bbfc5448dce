"""Which commitments may be challenged: two generations, however often something is committed to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.native import _core
from engram.store import Commitment, ProofState
from engram.store._proof_state import EXPIRES_NS, GENERATION_NS

NOW = 1_700_000_000_000_000_000
S = 10**9


def commitment(size: int) -> Commitment:
    empty = _core.Trie().commit()
    return Commitment(b"", b"", [], size, bytes(32), NOW, empty, empty)


def sizes(state: ProofState, now_ns: int) -> list[int]:
    return [each.size for each in state.challengeable(now_ns)]


def test_nothing_is_challengeable_before_something_is_committed_to():
    assert sizes(ProofState(), NOW) == []
    assert ProofState().promoted(NOW).latest is None
    assert not ProofState().reaches(0)


def test_the_first_is_challengeable_at_once():
    state = ProofState().committed(commitment(5), NOW)
    assert sizes(state, NOW) == [5]
    assert (state.reaches(4), state.reaches(5)) == (True, False)


def test_commitments_for_proofs_push_no_generation_out():
    state = ProofState().committed(commitment(1), NOW)
    for number in range(2, 50):
        state = state.committed(commitment(number), NOW + number * S)
        assert state.latest.size == number
        assert sizes(state, NOW + number * S) == [1]


def test_two_generations_are_live_and_a_third_ends_the_oldest():
    state = ProofState()
    for number in range(4):
        now = NOW + number * GENERATION_NS
        state = state.committed(commitment(number), now)
        assert sizes(state, now) == ([number, number - 1] if number else [0])


def test_the_older_one_expires_after_thirty_minutes():
    later = NOW + GENERATION_NS
    state = ProofState().committed(commitment(1), NOW).committed(commitment(2), later)
    assert sizes(state, later + EXPIRES_NS - 1) == [2, 1]
    assert sizes(state, later + EXPIRES_NS) == [2]
    assert len(state.promoted(later + EXPIRES_NS).generations) == 1


def test_one_that_nothing_has_taken_the_place_of_does_not_expire():
    state = ProofState().committed(commitment(1), NOW)
    assert sizes(state.promoted(NOW + 100 * EXPIRES_NS), NOW + 100 * EXPIRES_NS) == [1]


def test_the_latest_becomes_challengeable_once_a_generation_is_due():
    state = ProofState().committed(commitment(1), NOW).committed(commitment(2), NOW + S)
    assert sizes(state.promoted(NOW + GENERATION_NS - 1), NOW + GENERATION_NS) == [1]
    assert sizes(state.promoted(NOW + GENERATION_NS), NOW + GENERATION_NS) == [2, 1]


def test_a_clock_that_was_set_back_holds_no_generation_for_ever():
    state = ProofState().committed(commitment(1), NOW + 10**18).committed(commitment(2), NOW)
    assert sizes(state, NOW) == [2, 1]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100 * S)), max_size=60))
def test_what_was_given_can_be_challenged_for_a_minute_more(steps):
    """Whoever is given a commitment that may be challenged has `GENERATION_NS` for it, whatever happens here."""
    state, now, given_at = ProofState(), NOW, {}
    for number, (commit, later) in enumerate(steps):
        now += later
        state = state.committed(commitment(number), now) if commit else state.promoted(now)
        living = sizes(state, now)
        assert len(living) <= 2
        for size, at in given_at.items():
            assert size in living or now - at >= GENERATION_NS
        if living:
            given_at[living[0]] = now


@pytest.mark.parametrize("size", [0, 7])
def test_the_state_stays_as_it_is(size):
    before = ProofState().committed(commitment(size), NOW)
    before.committed(commitment(size + 1), NOW + EXPIRES_NS)
    assert before.latest.size == size
