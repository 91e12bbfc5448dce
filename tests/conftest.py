"""What tests of several rooms share."""

from __future__ import annotations

import pytest

from engram.embed import ModelFiles, fetch_model, find_model


@pytest.fixture(scope="session")
def model_files() -> ModelFiles:
    """The real model, found on this machine or fetched into the user's cache, as a node does it."""
    return find_model() or fetch_model(lambda *_: None)
