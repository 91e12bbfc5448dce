"""Crash at every disk call of a run of 200 operations, with every kind of loss of the unsynced, for some seeds.

python scripts/crash_every_call.py [OPERATIONS [SEED…]]
"""

from __future__ import annotations

import sys

from engram.testing.__main__ import main

if __name__ == "__main__":
    operations, *seeds = sys.argv[1:] or ["200", "1"]
    sys.exit(max(main(["--seed", seed, "--every-call", operations]) for seed in seeds or ["1"]))
