"""Finding and verifying the model's files."""

import shutil
import sys

import pytest

from engram.embed import ModelFiles, find_model, load_embedder, model_cache, verify_model
from engram.embed._model import DATA_WHEELS, HUB_REVISION, TOKENIZER, WEIGHTS
from engram.errors import ModelNotReady
from engram.native import _core


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without a model: empty caches, no folder named."""
    monkeypatch.delenv("ENGRAM_MODEL_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def hold(folder):
    """Make a folder that has both files by name and size, with zeros for bytes (sparse)."""
    folder.mkdir(parents=True)
    for pinned in (WEIGHTS, TOKENIZER):
        with (folder / pinned.name).open("wb") as file:
            file.truncate(pinned.size)
    return folder


def test_nothing_is_found_where_nothing_is(nowhere):
    assert find_model() is None


def test_named_folder_wins_over_the_environment_and_the_cache(nowhere, monkeypatch):
    hold(model_cache())
    named, other = hold(nowhere / "named"), hold(nowhere / "other")
    assert find_model() == ModelFiles(model_cache(), "cache")
    monkeypatch.setenv("ENGRAM_MODEL_DIR", str(other))
    assert find_model() == ModelFiles(other, "folder")
    assert find_model(named) == ModelFiles(named, "folder")


def test_named_folder_without_the_model_is_an_error_and_not_passed_over(nowhere, monkeypatch):
    hold(model_cache())
    monkeypatch.setenv("ENGRAM_MODEL_DIR", str(nowhere / "empty"))
    with pytest.raises(ModelNotReady, match=r"empty/tokenizer.json is missing"):
        find_model()


def test_half_a_file_is_passed_over_in_a_cache_and_an_error_in_a_named_folder(nowhere):
    hold(model_cache())
    with (model_cache() / WEIGHTS.name).open("r+b") as file:
        file.truncate(1000)
    assert find_model() is None
    with pytest.raises(ModelNotReady, match="has 1000 bytes and the model's has 90868376"):
        find_model(model_cache())


def test_installed_data_package_is_found_and_not_imported(nowhere, monkeypatch):
    wheel = DATA_WHEELS[1]
    folder = hold(nowhere / "site" / wheel.package / wheel.folder)
    (nowhere / "site" / wheel.package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(nowhere / "site"))
    assert find_model() == ModelFiles(folder, f"package {wheel.name}")
    assert wheel.package not in sys.modules


def test_hub_cache_is_found_at_the_pinned_revision(nowhere, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(nowhere / "hf"))
    model = nowhere / "hf" / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots"
    hold(model / "0123456789")
    assert find_model() is None
    folder = hold(model / HUB_REVISION)
    assert find_model() == ModelFiles(folder, "hub cache")


def test_right_files_verify(model_files):
    verify_model(model_files)


@pytest.mark.parametrize(("name", "at"), [(WEIGHTS.name, 60_000_000), (TOKENIZER.name, 400_000)])
def test_one_flipped_bit_is_found_and_nothing_is_loaded(model_files, tmp_path, name, at):
    for path in (model_files.weights, model_files.tokenizer):
        shutil.copy(path, tmp_path)
    with (tmp_path / name).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    damaged = ModelFiles(tmp_path, "folder")
    with pytest.raises(ModelNotReady, match=rf"{name} is damaged.*expected sha256 (53aa|be50)\w+, got \w{{64}}"):
        verify_model(damaged)
    with pytest.raises(ModelNotReady, match=name):
        load_embedder(damaged)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotReady, match=r"tokenizer.json is missing"):
        load_embedder(ModelFiles(tmp_path, "folder"))


@pytest.mark.parametrize("size", [0, 7, 5_000, 2_000_000, 90_868_375])
def test_weights_cut_short_are_an_error_and_not_a_crash(model_files, tmp_path, size):
    weights = tmp_path / WEIGHTS.name
    with model_files.weights.open("rb") as whole:
        weights.write_bytes(whole.read(size))
    with pytest.raises(OSError, match=f"and the file has {size}"):
        _core.MiniLm(str(weights), model_files.tokenizer.read_bytes())
