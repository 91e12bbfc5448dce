"""The golden digests, which are what `v1` is: the same for every kernel, batch, order, thread and process."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import golden
import pytest

from engram.embed import load_embedder
from engram.errors import BadRequest, TooLarge, Unprocessable

ITEMS = golden.load("minilm_digests")["items"]
TEXTS = [item["text"] for item in ITEMS]
EXPECTED = [(item["tokens"], item["sha256"]) for item in ITEMS]
SHORT = [i for i, (tokens, _) in enumerate(EXPECTED) if tokens <= 64]
SPREAD = [*SHORT[3::30], next(i for i, (tokens, _) in enumerate(EXPECTED) if tokens == 62)]


def digests(embedder, texts):
    """Give (tokens, sha256 of the 1,536 bytes or None) of each text, embedded as one batch."""
    result = embedder.embed(texts)
    assert all(vector is None or len(vector) == 1536 for vector in result.vectors)
    hashes = [vector and hashlib.sha256(vector).hexdigest() for vector in result.vectors]
    return list(zip(result.tokens, hashes, strict=True))


@pytest.fixture(scope="module")
def kernels(model_files):
    """Every kernel that this CPU can run, as the error of an unknown one names them: the slow one, for any CPU, last."""
    with pytest.raises(Unprocessable) as caught:
        load_embedder(model_files, kernel="no such")
    names = re.search(r"can run (.*)", str(caught.value))[1].split(", ")
    return [load_embedder(model_files, kernel=name) for name in names]


def test_there_are_enough_texts_of_every_kind():
    assert len(set(TEXTS)) == len(TEXTS) >= 200
    kinds = [item["kind"] for item in ITEMS]
    assert len(set(kinds)) >= 25
    assert sum(kind == "gloss" for kind in kinds) >= 100
    assert {2, 3, 16, 17, 32, 33, 128, 129, 255, 256, 257} <= {item["tokens"] for item in ITEMS}
    assert all((item["sha256"] is None) == (item["tokens"] > 256) for item in ITEMS)


def test_every_kernel_gives_the_digests(kernels):
    assert digests(kernels[0], TEXTS) == EXPECTED
    for embedder in kernels[1:-1]:
        assert digests(embedder, TEXTS) == EXPECTED, embedder.kernel
    slow = kernels[-1]
    assert digests(slow, [TEXTS[i] for i in SPREAD]) == [EXPECTED[i] for i in SPREAD], slow.kernel


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_slowest_kernel_gives_all_digests(kernels):
    assert digests(kernels[-1], TEXTS) == EXPECTED


@pytest.mark.parametrize("size", [1, 3, 20])
def test_batch_size_changes_no_digest(embedder, size):
    got = [one for at in range(0, len(TEXTS), size) for one in digests(embedder, TEXTS[at : at + size])]
    assert got == EXPECTED


def test_order_changes_no_digest(embedder):
    order = random.Random(1).sample(range(len(TEXTS)), len(TEXTS))
    assert digests(embedder, [TEXTS[i] for i in order]) == [EXPECTED[i] for i in order]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_that_share_an_embedder_change_no_digest(embedder, threads):
    parts = [range(at, len(TEXTS), 16) for at in range(8)]
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda part: digests(embedder, [TEXTS[i] for i in part]), parts))
    assert results == [[EXPECTED[i] for i in part] for part in parts]


def test_a_fresh_process_gives_the_digests(embedder):
    code = (
        "import hashlib, json, sys; from engram.embed import find_model, load_embedder\n"
        "result = load_embedder(find_model()).embed(json.load(sys.stdin))\n"
        "json.dump([vector and hashlib.sha256(vector).hexdigest() for vector in result.vectors], sys.stdout)"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONHASHSEED": "7"}
    out = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(TEXTS).encode(), capture_output=True, check=True, env=environment
    )
    assert json.loads(out.stdout) == [digest for _, digest in EXPECTED]


def test_token_counts_are_golden_also_where_they_are_too_many(embedder):
    assert [embedder.count_tokens(text) for text in TEXTS] == [tokens for tokens, _ in EXPECTED]
    long = [text for text, (tokens, _) in zip(TEXTS, EXPECTED, strict=True) if tokens > 256]
    refusals = embedder.embed([TEXTS[0], *long]).refusals
    assert list(refusals) == list(range(1, 1 + len(long)))
    assert all(isinstance(error, TooLarge) and error.field == "text" for error in refusals.values())


@pytest.mark.parametrize(
    "units", [[0xD800], [0xDFFF], [0x61, 0xD83D], [0xDE00, 0x62], [0xDE00, 0xD83D], [0xDC80] * 300]
)
def test_an_unpaired_surrogate_is_refused_alone(embedder, units):
    result = embedder.embed([TEXTS[0], "".join(map(chr, units)), TEXTS[1]])
    assert list(result.refusals) == [1]
    assert isinstance(result.refusals[1], BadRequest)
    assert digests(embedder, [TEXTS[0], TEXTS[1]]) == EXPECTED[:2]


def test_the_script_changes_no_digest_that_stands(tmp_path):
    sys.path.insert(0, str(golden.DATA.parents[1] / "scripts"))
    try:
        from minilm_digests import changes
    finally:
        sys.path.pop(0)
    assert changes(ITEMS) == []
    damaged = [item | {"tokens": item["tokens"] + (i == 3)} for i, item in enumerate(ITEMS)]
    assert changes(damaged) == [TEXTS[3]]
    assert changes(ITEMS[1:]) == [TEXTS[0]]
