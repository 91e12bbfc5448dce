"""The embedder on the real model, and the reference fixture."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from engram.embed import load_embedder

REFERENCE = Path(__file__).parent.parent / "data" / "minilm_reference.json"


@pytest.fixture(scope="session")
def embedder(model_files):
    return load_embedder(model_files)


@pytest.fixture(scope="session")
def reference():
    """50 texts with the tokens and vectors that sentence-transformers gave: (texts, tokens, float64 array 50 x 384)."""
    items = json.loads(REFERENCE.read_text())["items"]
    vectors = [np.frombuffer(base64.b64decode(item["vector"]), "<f4") for item in items]
    return [item["text"] for item in items], [item["tokens"] for item in items], np.array(vectors, dtype=np.float64)
