from __future__ import annotations

import hashlib
import json
import struct

import golden
import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from engram import cid, record
from engram.errors import EngramError, TooLarge, Unprocessable
from engram.native import _core

CASES = golden.FORMATS["cid"]
F32 = bytes.fromhex(CASES["f32le_hex"])


@pytest.mark.parametrize("case", CASES["accepted"], ids=lambda case: case["name"])
def test_accepted_records_have_their_golden_cid(case):
    metadata = record.canonical_metadata(record.metadata_from_json(case["metadata_json"]), ours=True)
    assert metadata == case.get("jcs", case["metadata_json"]).encode()
    version = case.get("model_version", "test/1")
    if "text" in case:
        digest, payload = record.encode_text(case["text"], F32, metadata, version)
    else:
        digest, payload = record.encode_vector(F32, metadata, version)
    assert cid.from_digest(digest) == case["cid"]
    assert record.decode(payload).cid == case["cid"]


def test_the_preimage_is_the_written_one():
    text = next(case for case in CASES["accepted"] if case["name"] == "text")
    assert cid.from_digest(hashlib.sha256(bytes.fromhex(CASES["preimage_of_text_hex"])).digest()) == text["cid"]
    assert cid.content_cid(hashlib.sha256(text["text"].encode()).digest()) == CASES["content_cid_of_text"]


def test_media_and_vectorless_records_have_their_golden_cid():
    for case, embedding in ((CASES["media"], F32), (CASES["no_vector"], b"")):
        content = hashlib.sha256(bytes.fromhex(case["bytes_hex"])).digest()
        metadata = case.get("metadata_json", "{}").encode()
        assert cid.compute(embedding, metadata, "test/1", content=content) == case["cid"]


def test_the_canonical_models_dimension():
    vector = struct.pack("<384f", *range(1, 385))
    assert hashlib.sha256(vector).hexdigest() == CASES["v1_384"]["f32le_sha256_hex"]
    assert cid.compute(vector, b"{}", "v1") == CASES["v1_384"]["cid_no_content"]


@pytest.mark.parametrize("case", CASES["embeddings"], ids=str)
def test_embeddings_are_stored_as_rounded_float32(case):
    stored = record.stored_vector(case["given"])
    assert stored.hex() == case["stored_f32le_hex"]
    assert cid.compute(stored, b"{}", "test/1") == case["cid"]


@pytest.mark.parametrize("case", CASES["refused_embeddings"], ids=lambda case: case["why"])
def test_unusable_embeddings_are_refused(case):
    with pytest.raises(Unprocessable, match="vector"):
        record.stored_vector(case["given"])


@pytest.mark.parametrize("vector", [[], [float("nan")], [float("inf")], ["a"], "text", None, [[1.0]], b"abc"], ids=repr)
def test_what_is_no_vector_is_refused(vector):
    with pytest.raises(Unprocessable, match="vector"):
        record.stored_vector(vector)


def test_arrays_of_one_dimension_are_vectors():
    numbers = [0.5, -0.0, 3.0]
    for vector in (
        np.array(numbers),
        np.array(numbers, "f4"),
        np.array([numbers, numbers]).T[:, 0],
        bytearray(struct.pack("<3f", *numbers)),
    ):
        assert record.stored_vector(vector) == struct.pack("<3f", 0.5, 0.0, 3.0)
    for shape in ((1, 3), (3, 1), (1, 1, 3)):
        with pytest.raises(Unprocessable, match="dimensions"):
            record.stored_vector(np.ones(shape))
    assert record.stored_vector(np.arange(1, 4)) == struct.pack("<3f", 1, 2, 3)


@pytest.mark.parametrize("stored", CASES["refused_stored_f32le_hex"])
def test_embedding_bytes_that_storing_never_gives_are_refused(stored):
    with pytest.raises(ValueError, match=r"number 0 is|the vector is zero|not whole float32"):
        _core.check_embedding(bytes.fromhex(stored))


@pytest.mark.parametrize("case", CASES["refused_metadata"], ids=lambda case: case["why"])
def test_metadata_that_cannot_be_kept_is_refused(case):
    with pytest.raises(EngramError) as caught:
        record.canonical_metadata(record.metadata_from_json(case["metadata_json"]), ours=True)
    assert caught.value.field.startswith("metadata")


def test_metadata_of_python_values_obeys_the_same_rules():
    for bad in (
        {"a": 9007199254740993},
        {"a": float("nan")},
        {"a": "\ud800"},
        {"\udc00": 1},
        {1: 2},
        {"a": {1, 2}},
        [],
        {"a": b""},
        {"a": 10**5000},
    ):
        with pytest.raises(Unprocessable) as caught:
            record.canonical_metadata(bad)
        assert caught.value.field.startswith("metadata")
    nested: dict[str, object] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    with pytest.raises(Unprocessable, match="limit of 16"):
        record.canonical_metadata(nested)
    while nested:
        nested = nested.pop("a")


def test_metadata_sizes_at_the_limit():
    sizes = CASES["metadata_size"]
    metadata = record.canonical_metadata({"a": "x" * sizes["accepted_n"]})
    assert cid.compute(F32, metadata, "test/1") == sizes["accepted_cid"]
    with pytest.raises(TooLarge, match="4096"):
        record.canonical_metadata({"a": "x" * sizes["refused_n"]})


def test_keys_of_ours_are_not_the_callers():
    with pytest.raises(Unprocessable, match=r"engram\."):
        record.canonical_metadata({"engram.parent": "v1::x"})


@pytest.mark.parametrize("stored", CASES["refused_as_stored_metadata"], ids=repr)
def test_stored_metadata_must_be_its_own_canonical_form(stored):
    with pytest.raises(Unprocessable):
        record.encode_vector(F32, stored.encode(), "test/1")


@pytest.mark.parametrize("version", CASES["refused_model_versions"], ids=repr)
def test_unusable_model_versions_are_refused(version):
    with pytest.raises(Unprocessable, match="model_version"):
        record.check_model_version(version)


@pytest.mark.parametrize("text", CASES["refused_cids"], ids=repr)
def test_what_is_no_cid_is_refused(text):
    with pytest.raises(Unprocessable) as caught:
        cid.digest_of(text)
    assert caught.value.field == "cid"


@pytest.mark.parametrize("case", golden.FORMATS["payload"]["accepted"], ids=lambda case: case["name"])
def test_golden_payloads_decode_and_encode_to_themselves(case):
    payload = bytes.fromhex(case["payload_hex"])
    found = record.decode(payload)
    assert found.cid == case["cid"]
    assert cid.key_of(found.digest).hex() == case["K_hex"]
    assert int.from_bytes(cid.key_of(found.digest)[:2]) >> 2 == case["group"]
    assert hashlib.sha256(payload).hexdigest() == case["payload_sha256_hex"]
    again = _core.encode_record(
        found.flags, found.embedding, found.metadata_json, found.model_version.encode(), found.blob, found.content
    )
    assert again == (found.digest, payload)


@pytest.mark.parametrize("case", golden.FORMATS["payload"]["refused_edits_of_text"], ids=lambda case: case["why"])
def test_payloads_that_encoding_never_gives_are_refused(case):
    payload = bytes.fromhex(golden.FORMATS["payload"]["accepted"][0]["payload_hex"])
    with pytest.raises(Unprocessable):
        record.decode(golden.edited(payload, case))


def test_another_valid_record_has_another_cid():
    payloads = golden.FORMATS["payload"]
    payload = bytes.fromhex(payloads["accepted"][0]["payload_hex"])
    case = payloads["accepted_as_another_cid"]
    assert record.decode(golden.edited(payload, case)).cid == case["cid"]


@pytest.mark.parametrize("case", golden.load("legacy_engram")["cid"], ids=lambda case: case["name"])
def test_the_first_engrams_identifiers(case):
    vector = bytes.fromhex(case["f32le_hex"])
    for flavour, name in (("rust", "rust_path_cid"), ("python", "py_path_cid")):
        assert cid.legacy(vector, case["metadata"], case["model_version"], flavour=flavour) == case[name]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def plus_zero(value):
    if isinstance(value, float) and value == 0:
        return 0
    if isinstance(value, list):
        return [plus_zero(item) for item in value]
    if isinstance(value, dict):
        return {key: plus_zero(item) for key, item in value.items()}
    return value


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5))
def test_canonical_json_is_that_of_an_independent_implementation(metadata):
    expected = rfc8785.dumps(plus_zero(metadata))
    assert _core.canonical(metadata) == expected
    assert _core.canonical_json(json.dumps(metadata).encode()) == expected
    assert _core.canonical_json(expected) == expected
