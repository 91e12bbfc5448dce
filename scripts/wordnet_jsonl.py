"""Turn WordNet 3.0 into JSON lines for `engram ingest --file`: a line a synset, its gloss as the text.

Reads data.noun, data.verb, data.adj and data.adv as Debian's package `wordnet-base` installs them; their format is in
`man 5 wndb`. 117,659 lines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = Path("/usr/share/wordnet")
PARTS = ("noun", "verb", "adj", "adv")
METADATA_BYTES = 4096
TYPES = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective satellite", "r": "adverb"}
CATEGORIES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
"""The lexicographer files, by number: `man 5 lexnames`."""


def main() -> int:
    """Write the lines that the arguments ask for; give the exit code."""
    options = _options()
    missing = [path for part in options.pos if not (path := options.folder / f"data.{part}").is_file()]
    if missing:
        print(
            f"error: no {missing[0]}: `apt-get install wordnet-base`, or name the folder with --folder", file=sys.stderr
        )
        return 2
    try:
        with options.out.open("w", encoding="utf-8") if options.out else nullcontext(sys.stdout) as out:
            for number, synset in enumerate(synsets(options.folder, options.pos)):
                if number % options.every == 0:
                    out.write(json.dumps(synset, ensure_ascii=False) + "\n")
            out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def synsets(folder: Path, parts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Give each synset of the data files as a memory: {text, metadata}."""
    for part in parts:
        with (folder / f"data.{part}").open(encoding="ascii") as file:
            for line in file:
                if not line.startswith("  "):  # the licence, which heads each file
                    yield synset_of(line, part)


def synset_of(line: str, part: str) -> dict[str, Any]:
    """Read one line of a data file: `offset category type words (word id)* … | gloss`."""
    data, _, gloss = line.partition(" | ")
    offset, category, kind, count, *words = data.split(" ")
    lemmas = [_lemma(word) for word in words[: 2 * int(count, 16) : 2]]
    metadata = {
        "source": "wordnet",
        "version": "3.0",
        "pos": part,
        "type": TYPES[kind],
        "category": CATEGORIES[int(category)],
        "offset": int(offset),
        "lemmas": lemmas,
    }
    while len(json.dumps(metadata, ensure_ascii=False).encode()) > METADATA_BYTES:
        lemmas.pop()
    return {"text": gloss.strip(), "metadata": metadata}


def _lemma(word: str) -> str:
    marker = word.find("(")  # adjectives say where they may stand: `galore(ip)`
    return (word if marker < 1 else word[:marker]).replace("_", " ")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python scripts/wordnet_jsonl.py --out glosses.jsonl && engram ingest --file glosses.jsonl",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the data files are (%(default)s)")
    parser.add_argument("--out", type=Path, help="file to write; standard output if left out")
    parser.add_argument(
        "--pos", nargs="+", choices=PARTS, default=PARTS, help="parts of speech to take; all if left out"
    )
    parser.add_argument("--every", type=_positive, default=1, metavar="N", help="take every N-th synset only")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
