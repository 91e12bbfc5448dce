"""The native core, `engram.native._core`, built from `src/`. No fallback: it is there, or the import fails."""

from pathlib import Path

try:
    from engram.native import _core
except ImportError as error:
    raise ImportError(
        f"{error}: Engram's native core is not built for the sources in {Path(__file__).parents[2]}, "
        "which Python takes before an installed Engram here. "
        "Build it (`pip install -e .` there), or work in another folder."
    ) from error

__all__ = ["_core"]
