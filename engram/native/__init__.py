"""The native core, `engram.native._core`, built from `src/`. No fallback: it is there, or the import fails."""
