"""Run a node as the first Engram's validator was run: `ENV_FILE=.env.validator python neurons/validator.py`.

It is `engram-node --role validator`, which says that validators are not built yet.
"""

from __future__ import annotations

import sys

from engram.cli.node import main

if __name__ == "__main__":
    sys.argv[1:1] = ["--role", "validator"]
    main()
