"""Ten thousand simulations of a node; each failing seed is printed with the line that replays it.

python scripts/simulate.py [FIRST..BEHIND]
"""

from __future__ import annotations

import sys

from engram.testing.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["--seeds", sys.argv[1] if len(sys.argv) > 1 else "0..10000"]))
