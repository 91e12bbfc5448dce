"""Write `tests/data/minilm_digests.json`: texts, their token counts and the sha256 of their vectors.

The digests are what `v1` is: every kernel on every CPU must give them, for ever. To write other ones is to make another
model version, with another name, which no index of `v1` may be mixed with. So this script refuses to change a digest or
a count that stands; it only adds texts, unless `--new-model-version` says that a new version is what is being made.

A vector is 384 little-endian f32, 1,536 bytes. A text of more than 256 tokens has no vector: its digest is null.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from minilm_texts import texts

from engram.embed import fetch_model, find_model, load_embedder

DIGESTS = Path(__file__).parents[1] / "tests" / "data" / "minilm_digests.json"


def main() -> int:
    """Embed the texts, compare with what stands, write the file; give the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--new-model-version", action="store_true", help="write digests unlike those that stand")
    options = arguments.parse_args()
    items = digests()
    if not options.new_model_version and (changed := changes(items)):
        print(f"error: {len(changed)} texts differ from {DIGESTS.name}, the first {changed[0]!r}", file=sys.stderr)
        return 1
    rows = ",\n".join(json.dumps(item) for item in items)
    DIGESTS.write_text(f'{{"made_by": "scripts/minilm_digests.py", "items": [\n{rows}\n]}}\n', encoding="ascii")
    embedded = sum(item["sha256"] is not None for item in items)
    print(f"{DIGESTS}: {len(items)} texts, {embedded} with a vector, {len(items) - embedded} over 256 tokens")
    return 0


def digests() -> list[dict[str, Any]]:
    """Embed every text with the fastest kernel."""
    embedder = load_embedder(find_model() or fetch_model(lambda *_: None))
    pairs = texts()
    embedded = embedder.embed([text for _, text in pairs])
    return [
        {"kind": kind, "tokens": tokens, "sha256": vector and hashlib.sha256(vector).hexdigest(), "text": text}
        for (kind, text), vector, tokens in zip(pairs, embedded.vectors, embedded.tokens, strict=True)
    ]


def changes(items: list[dict[str, Any]]) -> list[str]:
    """Give the texts of the file whose count or digest is another now, or that are gone."""
    standing = json.loads(DIGESTS.read_text("ascii"))["items"] if DIGESTS.exists() else []
    now = {item["text"]: (item["tokens"], item["sha256"]) for item in items}
    return [item["text"] for item in standing if now.get(item["text"]) != (item["tokens"], item["sha256"])]


if __name__ == "__main__":
    sys.exit(main())
