"""What `engram-node doctor` looks at. A check is a function of the configuration that finds one fact and judges it."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import platform
import shutil
import socket
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from engram.cli._text import duration, size
from engram.cli._version import version
from engram.errors import EngramError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engram.embed import ModelSpec
    from engram.node import Config

FORMAT = 1
"""The data format that this build writes."""
_ROOM = 1 << 30
_SYNCS = 15
_SLOW_SYNC_S = 0.02
_TIMEOUT_S = 2.0
_WORD = "a"
_KERNELS = {"avx512": "AVX-512", "avx2": "AVX2", "neon": "NEON", "scalar": "scalar"}


class Check(msgspec.Struct, frozen=True):
    """One line of the report: what was looked at, how it is, what was found, and what to do where it is not well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def examine(config: Config) -> list[Check]:
    """Make every check, in the order in which a node needs what they check."""
    checks = [_made(name, check, config) for name, check in CHECKS.items()]
    models = (
        (f"model {name}", functools.partial(check_configured, name, spec)) for name, spec in config.models.items()
    )
    return checks + [_made(name, check, config) for name, check in models]


def check_python(_config: Config) -> Check:
    """Name the interpreter; an unsuitable one cannot install Engram."""
    found = f"{platform.python_implementation()} {platform.python_version()}, engram {version()}"
    return Check("python", "ok", found)


def check_platform(_config: Config) -> Check:
    """Judge the operating system."""
    found = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores"
    if sys.platform not in ("linux", "darwin"):
        return Check("platform", "fail", found, "use Linux or macOS; on Windows, WSL")
    return Check("platform", "ok", found)


def check_native(_config: Config) -> Check:
    """Judge whether the native core loads."""
    try:
        from engram.native import _core
    except ImportError as error:
        return Check("native core", "fail", str(error), "install the wheel, or build it: `maturin develop -r`")
    return Check("native core", "ok", f"version {_core.__version__}")


def check_folder(config: Config) -> Check:
    """Judge whether the data folder, or the place where it will be, can be written."""
    folder = config.data_dir.absolute()
    place = _existing(folder)
    if not place.is_dir():
        return Check("data folder", "fail", f"{place} is not a folder", "name another with --data")
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "data folder", "fail", f"{place} cannot be written", "change its owner, or name another with --data"
        )
    state = _format(folder)
    if state is None:
        return Check("data folder", "ok", f"{folder}, new" if place != folder else f"{folder}, no memory in it yet")
    number, holder = state
    if number is None:
        return Check(
            "data folder", "fail", f"{folder}/FORMAT cannot be read", "restore it from a copy; do not delete it"
        )
    if number > FORMAT:
        return Check(
            "data folder", "fail", f"{folder}, format {number}", f"written by a newer Engram; this one knows {FORMAT}"
        )
    if holder:
        return Check("data folder", "ok", f"{folder}, format {number}, open in {holder}")
    return Check("data folder", "ok", f"{folder}, format {number}")


def check_space(config: Config) -> Check:
    """Judge the room on the disk of the data folder."""
    place = _existing(config.data_dir.absolute())
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        return Check("free space", "warn", size(free), f"under {size(_ROOM)}: a node that fills its disk stops")
    return Check("free space", "ok", size(free))


def check_disk(config: Config) -> Check:
    """Measure how long the disk takes to make 4 KiB durable: what every acknowledged write waits for."""
    try:
        median = statistics.median(_sync_times(_existing(config.data_dir.absolute())))
    except OSError as error:
        return Check("disk sync", "fail", error.strerror or str(error), "the disk must be writable and able to sync")
    found = f"{duration(median)}, median of {_SYNCS}"
    if median > _SLOW_SYNC_S:
        return Check("disk sync", "warn", found, "slow: single writes wait for it; put the data folder on a local SSD")
    return Check("disk sync", "ok", found)


def check_port(config: Config) -> Check:
    """Judge whether the port is free, or which node answers there."""
    url = f"engram://{config.host}:{config.port}"
    if config.port == 0:
        return Check("port", "ok", "0: any free one")
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((config.host, config.port))
    except PermissionError:
        return Check("port", "fail", f"{config.port} needs a right that you lack", "take a port from 1024 up")
    except OSError:
        return _neighbour(url, config.port)
    return Check("port", "ok", f"{config.port} is free")


def check_index(_config: Config) -> Check:
    """Name the kernel that searches, and the planner's constants: when a search is exact, what earns another mode."""
    from engram.native._core import planner, scan_kernels

    name = os.environ.get("ENGRAM_KERNEL") or scan_kernels()[0]
    if name not in scan_kernels():
        return Check("index", "fail", f"no kernel {name} here", f"unset ENGRAM_KERNEL, or: {', '.join(scan_kernels())}")
    is_ = {constant: f"{value:,g}" for constant, value in planner()}
    found = (
        f"{_KERNELS[name]} kernel; exact up to {is_['exact_rows']} rows; beyond, fast from {is_['min_dim']} numbers a "
        f"vector, where {is_['recall']} of the nearest stand among {is_['least_r1']} to {is_['most_r1']} rows by sign; "
        f"tested every {is_['test_rows']} rows"
    )
    if name == "scalar":
        return Check("index", "warn", found, "no AVX2 here, or ENGRAM_KERNEL asks for it: slower, the same rows")
    return Check("index", "ok", found)


def check_model(config: Config) -> Check:
    """Judge whether the embedding model is here, whole, and the right one."""
    from engram.embed import find_model, verify_model

    try:
        files = find_model(config.model_dir)
        if files is None:
            return Check("model", "warn", "not here yet", "the first start fetches it; or now: `engram model fetch`")
        verify_model(files)
    except EngramError as error:
        return Check("model", "fail", error.message)
    return Check("model", "ok", f"{files.folder} ({files.source}), verified")


def check_embedder(config: Config) -> Check:
    """Judge whether texts get the vectors that they get everywhere: the kernel, and its self-test."""
    from engram.embed import find_model, load_embedder

    try:
        files = find_model(config.model_dir)
        if files is None:
            return Check("embedder", "warn", "not tested: the model is not here", "fetch it: `engram model fetch`")
        embedder = load_embedder(files)
    except EngramError as error:
        return Check("embedder", "fail", error.message)
    name = _KERNELS[embedder.kernel]
    found = f"{embedder.model_version}, {name} kernel, self-test passed, fingerprint {embedder.fingerprint[:16]}…"
    if embedder.kernel == "scalar":
        return Check(
            "embedder", "warn", found, "no AVX2 here, or ENGRAM_KERNEL asks for it: many times slower, the same vectors"
        )
    return Check("embedder", "ok", found)


def check_configured(name: str, spec: ModelSpec, _config: Config) -> Check:
    """Judge whether a configured model loads and embeds; a server is asked to embed one word."""
    from engram.embed import load_model

    title = f"model {name}"
    try:
        embedder = load_model(spec)
        try:
            embedder.embed([_WORD]).vector(0)
        finally:
            embedder.close()
    except EngramError as error:
        return Check(title, "fail", error.message, "mend it in node.toml; the node runs without it meanwhile")
    found = f"{embedder.model_version}, dim {embedder.dim}, fingerprint {embedder.fingerprint[:16]}…"
    return Check(title, "ok", found)


CHECKS: dict[str, Callable[[Config], Check]] = {
    "python": check_python,
    "platform": check_platform,
    "native core": check_native,
    "data folder": check_folder,
    "free space": check_space,
    "disk sync": check_disk,
    "port": check_port,
    "index": check_index,
    "model": check_model,
    "embedder": check_embedder,
}
"""Every check by its name, in order; the configured models come after."""


def _made(name: str, check: Callable[[Config], Check], config: Config) -> Check:
    try:
        return check(config)
    except ImportError as error:
        return Check(name, "fail", f"cannot be looked at: {error}", "first get the native core to load")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _format(folder: Path) -> tuple[int | None, str] | None:
    """Give the folder's format number (None: unreadable) and who holds it; None where it holds no memory."""
    path = folder / "FORMAT"
    try:
        with path.open("rb") as file:
            number = json.loads(file.readline())["format"]
            return (number if isinstance(number, int) else None), _holder(folder, file.fileno())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _holder(folder: Path, descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return f"process {int((folder / 'pid').read_text('ascii'))}"
        except (OSError, ValueError):
            return "another process"
    return ""


def _sync_times(folder: Path) -> list[float]:
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".engram-doctor-") as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            _sync(file.fileno())
            times.append(time.perf_counter() - started)
    return times


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _neighbour(url: str, port: int) -> Check:
    from engram.sdk import EngramClient

    try:
        with EngramClient(url, timeout=_TIMEOUT_S) as client:
            status = client.status()
    except EngramError:
        return Check("port", "fail", f"{port} is taken by another program", "take another with --port")
    return Check("port", "ok", f"a node answers at {url}: engram {status.version}, {status.records:,} records")
