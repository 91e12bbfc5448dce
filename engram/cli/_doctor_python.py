"""What `engram-node doctor` looks at of Python: the interpreter, what `import engram` gives, the environment."""

from __future__ import annotations

import difflib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import engram
from engram.cli._doctor_check import Check
from engram.cli._version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram.node import Config

DISTRIBUTION = "engram-node"
_OURS = {"ENGRAM_NODE", "ENGRAM_KERNEL"}
"""Variables that are no key's."""


def check_python(_config: Config) -> Check:
    """Name the interpreter; an unsuitable one cannot install Engram."""
    found = f"{platform.python_implementation()} {platform.python_version()}, engram {version()}"
    return Check("python", "ok", found)


def check_package(_config: Config) -> Check:
    """Judge whether another distribution, or a folder on the way, stands in for the package `engram`."""
    own = Path(engram.__file__).parent.resolve()
    others = sorted(name for name in _providers() if name.replace("_", "-").lower() != DISTRIBUTION)
    if others:
        return Check(
            "package",
            "fail",
            f"{', '.join(others)} also installs a package `engram`: the two overwrite each other",
            f"one of them a virtual environment: pip uninstall {' '.join(others)}, then install {DISTRIBUTION} again",
        )
    shadows = [place for place in _places() if place.resolve() != own]
    if shadows:
        return Check(
            "package",
            "warn",
            f"{shadows[0]} is another `engram` on Python's path; here it is {own}",
            "a program that finds it first gets that one: rename it, or start elsewhere",
        )
    return Check("package", "ok", str(own))


def _providers() -> set[str]:
    """Give the distributions that have a top-level `engram`."""
    found = set()
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and _has_engram(distribution):
            found.add(name)
    return found


def _has_engram(distribution: metadata.Distribution) -> bool:
    if (names := distribution.read_text("top_level.txt")) is not None:
        return "engram" in names.split()
    files = distribution.files or ()
    return any((file.parts[0] == "engram" and len(file.parts) > 1) or file.parts[0] == "engram.py" for file in files)


def _places() -> list[Path]:
    """Give every `engram` that Python may find, from its path and from the working folder."""
    found = []
    for folder in dict.fromkeys(Path(entry or ".").absolute() for entry in ["", *sys.path]):
        package = folder / "engram"
        if (package / "__init__.py").is_file():
            found.append(package)
        elif (folder / "engram.py").is_file():
            found.append(folder / "engram.py")
    return found


def check_environment(_config: Config, environ: Mapping[str, str] = os.environ) -> Check | None:
    """Say which variables go over the file; warn of those that look like one and are none."""
    from engram.node import variables

    known = variables()
    given = [name for name in known if environ.get(name)]
    for name in environ:
        if name.startswith("ENGRAM_") and name not in _OURS and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if near:
                return Check("environment", "warn", f"{name} says nothing to a node", f"did you mean {near[0]}?")
    if not given:
        return None
    return Check("environment", "ok", f"over node.toml: {', '.join(given)}")
