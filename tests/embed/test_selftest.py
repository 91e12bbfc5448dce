"""The self-test: a build or a CPU that gives other bits mints no CID from a text."""

import hashlib
import json

import pytest
import rfc8785

from engram.embed import FINGERPRINT, load_embedder
from engram.embed import _selftest as selftest
from engram.errors import ModelNotReady


def test_the_golden_texts_have_the_golden_digests_and_one_is_not_ascii(embedder):
    vectors = embedder.embed(list(selftest.GOLDEN)).vectors
    assert [hashlib.sha256(vector).hexdigest() for vector in vectors] == list(selftest.GOLDEN.values())
    assert not all(text.isascii() for text in selftest.GOLDEN)


def test_a_single_wrong_bit_fails_the_load_and_says_which_kernel_and_what_to_do(model_files, monkeypatch):
    text, digest = list(selftest.GOLDEN.items())[-1]
    monkeypatch.setitem(selftest.GOLDEN, text, ("0" if digest[0] != "0" else "1") + digest[1:])
    with pytest.raises(ModelNotReady, match=r"failed its self-test: the \w+ kernel gives .*ENGRAM_KERNEL=scalar"):
        load_embedder(model_files)


def test_the_fingerprint_is_over_everything_that_decides_a_vector():
    decides = {
        "arithmetic": "minilm/1",
        "max_tokens": 256,
        "normalisation": "l2",
        "pooling": "mean",
        "splitter": "split/1",
        "tokenizer": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "weights": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }
    assert rfc8785.dumps(decides) == json.dumps(decides, separators=(",", ":"), sort_keys=True).encode()
    assert hashlib.sha256(b"engram/model/1\n" + rfc8785.dumps(decides)).hexdigest() == FINGERPRINT
