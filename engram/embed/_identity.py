"""What a model is called: the fingerprint of what decides its vectors, and the version that carries its beginning."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from engram.errors import ModelNotReady
from engram.native import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_TAG = b"engram/model/1\n"
_SHOWN_DIGITS = 16
_SLUG_CHARACTERS = 64
_NOT_IN_A_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
_HUB_SNAPSHOT = re.compile(r"models--(?:[^/]+--)?([^/]+)/snapshots/[0-9a-f]+\Z")


def fingerprint_of(decides: Mapping[str, object]) -> str:
    """Give the hex SHA-256 of the canonical JSON of everything that decides a model's vectors."""
    return hashlib.sha256(_TAG + _core.canonical(dict(decides))).hexdigest()


def version_of(backend: str, name: str, fingerprint: str) -> str:
    """Give the model version `backend/name@…`, of at most 128 bytes; the digits after @ begin the fingerprint."""
    slug = _NOT_IN_A_SLUG.sub("-", name).strip("-")[-_SLUG_CHARACTERS:] or "model"
    return f"{backend}/{slug}@{fingerprint[:_SHOWN_DIGITS]}"


def same_model(one: str, other: str) -> bool:
    """Say whether two versions are of one model: the same backend and fingerprint, whatever its folder is called."""
    return one == other or (_key(one) is not None and _key(one) == _key(other))


def folder_name(folder: Path) -> str:
    """Give the name that a model's folder bears, also where it is a snapshot in the hub's cache."""
    found = _HUB_SNAPSHOT.search(folder.as_posix())
    return found[1] if found else folder.name


def file_hashes(folder: Path, names: Iterable[str]) -> list[list[str]]:
    """Hash files of a folder; give [name, hex SHA-256] of each, by name. Raises `ModelNotReady` for one unreadable."""
    hashes = []
    for name in sorted(names):
        try:
            with (folder / name).open("rb") as file:
                hashes.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
        except OSError as error:
            raise ModelNotReady(f"{folder / name} cannot be read: {error.strerror}") from error
    return hashes


def _key(version: str) -> tuple[str, str] | None:
    backend, slash, rest = version.partition("/")
    digits = rest.rpartition("@")[2]
    return (backend, digits) if slash and re.fullmatch(f"[0-9a-f]{{{_SHOWN_DIGITS}}}", digits) else None
