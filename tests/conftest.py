"""What tests of several rooms share."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from engram.embed import ModelFiles, fetch_model, find_model

settings.register_profile("suite", derandomize=True)  # what passed once passes wherever it runs
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("suite")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has what it runs in the background ignore the interrupt, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_files() -> ModelFiles:
    """The real model, found on this machine or fetched into the user's cache, as a node does it."""
    return find_model() or fetch_model(lambda *_: None)
