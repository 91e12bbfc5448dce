"""What tests of several rooms share."""

from __future__ import annotations

import signal

import pytest
import structlog
from hypothesis import settings

from engram.embed import ModelFiles, fetch_model, find_model

# What passed once passes wherever it runs, however slow that is: a deadline would be of the machine, not of the code.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("suite")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has what it runs in the background ignore the interrupt, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_is_as_no_program_has_set_it_up():
    """What a test sets up, `capture_logs` too, is undone: the next one's standard output has what is asked for alone."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def model_files() -> ModelFiles:
    """The real model, found on this machine or fetched into the user's cache, as a node does it."""
    return find_model() or fetch_model(lambda *_: None)
