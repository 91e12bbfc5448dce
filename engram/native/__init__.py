"""The native core: `engram.native._core`, built from `src/` beside this file. No fallback: it is there, or the import fails."""
