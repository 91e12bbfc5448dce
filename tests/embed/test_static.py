"""Static models: against the arithmetic written out in plain Python, and folders that hold none."""

from __future__ import annotations

import math
import struct

import pytest
import static_model
from static_model import DIM, WORDS, row

from engram.embed import StaticSpec, load_model
from engram.errors import ModelNotReady


def expected(words, *, normalize=True, weights=None, mapping=None):
    """Give the mean of the words' rows; words that the model has not count for nothing."""
    ids = [WORDS.index(word) for word in words if word in WORDS and word != "[UNK]"]
    rows = [
        [value * (weights[at] if weights else 1) for value in row(WORDS[mapping[at] if mapping else at])] for at in ids
    ]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    norm = math.sqrt(sum(value * value for value in mean)) if normalize else 1
    return struct.pack(f"<{DIM}f", *[value / norm for value in mean])


@pytest.fixture
def load(tmp_path):
    def made(name="tiny", **options):
        return load_model(StaticSpec(path=static_model.make(tmp_path / name, **options)))

    return made


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_a_vector_is_the_mean_of_its_words(load, normalize, kind):
    model = load(normalize=normalize, kind=kind)
    done = model.embed(["The cat sat on a mat", "dog", "the unheard-of cat"])
    assert done.vectors == (
        expected(["the", "cat", "sat", "on", "a", "mat"], normalize=normalize),
        expected(["dog"], normalize=normalize),
        expected(["the", "cat"], normalize=normalize),
    )
    assert done.tokens == (6, 1, 2)


def test_a_quantised_vocabulary_has_a_mapping_and_weights(load):
    mapping = [at // 2 for at in range(len(WORDS))]
    weights = [1 / (1 + at) for at in range(len(WORDS))]
    model = load(mapping=mapping, weights=weights)
    words = ["the", "dog", "sat", "on", "the", "mat"]
    assert model.embed([" ".join(words)]).vector(0) == expected(words, weights=weights, mapping=mapping)


def test_no_text_is_too_long(load):
    """The tokeniser's own truncation, of four tokens here, is switched off."""
    words = ["cat", "sat", "dog", "ran", "mat"] * 300
    done = load().embed([" ".join(words)])
    assert done.vector(0) == expected(words)
    assert done.tokens == (1500,)


def test_a_text_without_a_known_word_is_refused_alone(load):
    done = load().embed(["zebra", "cat", "!?"])
    assert [vector is None for vector in done.vectors] == [True, False, True]
    assert (done.refusals[0].code, done.refusals[0].field) == ("unprocessable", "text")
    assert "zebra" not in done.refusals[0].message


def test_the_fingerprint_is_of_what_decides_a_vector_and_nothing_else(load, tmp_path):
    model = load("potion-base-8M")
    assert model.model_version.startswith("static/potion-base-8M@")
    (tmp_path / "potion-base-8M" / "README.md").write_text("more words")
    again = load_model(StaticSpec(path=tmp_path / "potion-base-8M"))
    assert again.fingerprint == model.fingerprint
    assert load("other name").fingerprint == model.fingerprint
    assert load("not normal", normalize=False).fingerprint != model.fingerprint
    assert load("half", kind="F16").fingerprint != model.fingerprint


def test_a_snapshot_of_the_hub_is_called_by_its_model(load):
    model = load("models--minishlab--potion-base-8M/snapshots/0123abcd")
    assert model.model_version.startswith("static/potion-base-8M@")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = static_model.make(tmp_path / "tiny")
    (folder / name).unlink()
    with pytest.raises(ModelNotReady, match=name):
        load_model(StaticSpec(path=folder))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", b"{}", "no static model that can be read"),
        ("tokenizer.json", b"\xff", "no static model that can be read"),
        ("model.safetensors", b"", "no static model that can be read"),
        ("model.safetensors", b"\xff" * 64, "no static model that can be read"),
        ("model.safetensors", static_model.safetensors({}), "no tensor embeddings"),
        ("model.safetensors", static_model.safetensors({"embeddings": ("F32", [6], bytes(24))}), "shape"),
        ("model.safetensors", static_model.safetensors({"embeddings": ("F32", [1, 6], bytes(24))}), "16 tokens"),
        ("model.safetensors", static_model.safetensors({"embeddings": ("F8", [1, 6], bytes(6))}), "F8"),
        ("config.json", b"[]", "no static model that can be read"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error_that_names_the_folder(tmp_path, name, content, says):
    folder = static_model.make(tmp_path / "tiny")
    (folder / name).write_bytes(content)
    with pytest.raises(ModelNotReady) as caught:
        load_model(StaticSpec(path=folder))
    assert says in caught.value.message
    assert str(folder) in caught.value.message


def test_a_mapping_that_points_outside_is_refused(load):
    for mapping in ([16, *range(1, 16)], [-1, *range(1, 16)]):
        with pytest.raises(ModelNotReady, match="outside"):
            load(f"mapping {mapping[0]}", mapping=mapping)


def test_a_folder_that_is_none_is_an_error(tmp_path):
    with pytest.raises(ModelNotReady, match="cannot be read"):
        load_model(StaticSpec(path=tmp_path / "nowhere"))


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    folder = static_model.make(tmp_path / "tiny")
    with pytest.raises(ModelNotReady, match=r"pip install 'engram-node\[static\]'"):
        load_model(StaticSpec(path=folder))
