"""What `engram-node doctor` looks at. A check is a function of the configuration that finds one fact and judges it.

A check that has nothing to say gives None.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from typing import TYPE_CHECKING

from engram.cli._doctor_check import Check
from engram.cli._doctor_disk import check_clock, check_disk, check_file_system, check_folder, check_space
from engram.cli._doctor_net import check_challenges, check_http_port, check_port, check_tls
from engram.cli._doctor_python import check_environment, check_package, check_python
from engram.errors import EngramError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engram.embed import ModelSpec
    from engram.node import Config

_WORD = "a"
_KERNELS = {"avx512": "AVX-512", "avx2": "AVX2", "neon": "NEON", "scalar": "scalar"}


def examine(config: Config) -> list[Check]:
    """Make every check, in the order in which a node needs what they check."""
    models = {f"model {name}": functools.partial(check_configured, name, spec) for name, spec in config.models.items()}
    made = (_made(name, check, config) for name, check in (CHECKS | models).items())
    return [check for check in made if check is not None]


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


CHECKS: dict[str, Callable[[Config], Check | None]] = {
    "python": check_python,
    "package": check_package,
    "platform": check_platform,
    "native core": check_native,
    "data folder": check_folder,
    "file system": check_file_system,
    "free space": check_space,
    "disk sync": check_disk,
    "clock": check_clock,
    "environment": check_environment,
    "port": check_port,
    "HTTP port": check_http_port,
    "TLS": check_tls,
    "challenges": check_challenges,
    "index": check_index,
    "model": check_model,
    "embedder": check_embedder,
}
"""Every check by its name, in order; the configured models come after."""


def _made(name: str, check: Callable[[Config], Check | None], config: Config) -> Check | None:
    try:
        return check(config)
    except ImportError as error:
        return Check(name, "fail", f"cannot be looked at: {error}", "first get the native core to load")
