"""An agent that remembers: facts go in as it learns them, and the ones that matter come back by meaning.

Run it with a folder for its memory, and run it again: what it knew, it still knows, and nothing is kept twice.

    python examples/agent_memory.py ./agent-memory "what should I cook tonight?"
"""

from __future__ import annotations

import sys

import engram

FACTS = [
    ("Ada is vegetarian and does not eat fish.", {"about": "ada", "kind": "diet"}),
    ("Ada's flat has an induction stove and no oven.", {"about": "ada", "kind": "home"}),
    ("Ben is allergic to peanuts.", {"about": "ben", "kind": "diet"}),
    ("The deployment runs every Thursday at nine.", {"about": "work", "kind": "schedule"}),
    ("Ada prefers short answers with a list at the end.", {"about": "ada", "kind": "style"}),
]


def main() -> None:
    """Remember the facts, then print those that bear on the question."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} FOLDER QUESTION")
    folder, question = sys.argv[1:]
    with engram.open(folder) as memory:
        for text, metadata in FACTS:
            memory.ingest(text, metadata)
        print(f"{memory.status().records} memories; the three nearest to {question!r} about Ada:")
        for hit in memory.query(question, top_k=3, filter='about = "ada"'):
            print(f"{hit.score:7.4f}  {hit.text}")


if __name__ == "__main__":
    main()
