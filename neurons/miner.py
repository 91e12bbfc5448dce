"""Run a node as the first Engram's miner was run: `ENV_FILE=.env.miner python neurons/miner.py`.

It is `engram-node --role miner`, which is the way to run one.
"""

from __future__ import annotations

import re
import sys

from engram.cli.node import main

OF_THE_CHAIN = re.compile(r"--(wallet|subtensor|axon|logging)\.|--netuid")

if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if OF_THE_CHAIN.match(argument):
            sys.exit(f"error: {argument}: the chain is not built yet; leave it out")
    sys.argv[1:1] = ["--role", "miner"]
    main()
