"""Make mutants of proofs and of answers to challenges, and count what is accepted: `mutate_proofs.py [N] [SEED]`.

Each is judged twice: by `engram.proofs`, and by an oracle written from the formats alone (`tests/proof_oracle.py`). The
exit code is 1 if one is accepted, or judged otherwise by the one than by the other.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

MUTANTS = 130_000
"""Some change nothing and do not count."""


def main() -> int:
    """Make the mutants, print the table."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    proof_mutants = importlib.import_module("proof_mutants")
    given = [int(each) for each in sys.argv[1:3]]
    mutants, seed = [*given, *(MUTANTS, 1)[len(given) :]]
    tallies = proof_mutants.run(mutants, seed)
    print(proof_mutants.table(tallies))
    wrong = [each for tally in tallies.values() for each in tally.wrong]
    for each in wrong[:3]:
        print(each)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
