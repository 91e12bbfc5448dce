"""Real texts of 3 to 256 tokens for the embedder's benchmarks: the same ones each time, from what a Debian carries.

Glosses of WordNet (`wordnet-base`), glosses joined to greater lengths, this repository's own documents, and what
`dpkg`, `apt` and `coreutils` say in some 60 languages. `count` gives a text's tokens, [CLS] and [SEP] included.
"""

from __future__ import annotations

import gettext
import itertools
import random
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from embedding_reference import WRITTEN
from wordnet_jsonl import FOLDER, PARTS, synsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Count = Callable[[str], int]

ROOT = Path(__file__).parents[1]
MOST_TOKENS = 256
REAL_TEXTS = 1000
_JOINED, _PROSE, _TRANSLATED = 180, 150, 250
_CATALOGUES = ("apt", "coreutils", "dpkg")
_EXAMPLE = re.compile(r'; "([^"]+)"')


def real_texts(count: Count) -> list[str]:
    """1,000 texts in an order that mixes their kinds and lengths, so that any first part of them is a fair sample."""
    sources = [WRITTEN, _spread(prose(count), _PROSE), _spread(translations(count), _TRANSLATED)]
    sources.append(joined(count, range(20, MOST_TOKENS + 1), _JOINED))
    sources.append([of_tokens(MOST_TOKENS, count)])
    texts = list(dict.fromkeys(itertools.chain(*sources)))
    texts += _spread(glosses(), REAL_TEXTS - len(texts))
    random.Random(4).shuffle(texts)
    return texts


def glosses() -> list[str]:
    if not (FOLDER / "data.noun").is_file():
        raise SystemExit("error: no WordNet here: apt-get install wordnet-base")
    return [synset["text"] for synset in synsets(FOLDER, PARTS)]


def corpus_and_queries(corpus: int, queries: int) -> tuple[list[str], list[str]]:
    """Definitions without their examples, and examples as the queries, each of a synset that has one."""
    with_examples = [gloss for gloss in glosses() if _EXAMPLE.search(gloss)]
    chosen = _spread(with_examples, corpus)
    examples = [_EXAMPLE.findall(gloss)[0] for gloss in chosen]
    return [_EXAMPLE.sub("", gloss) for gloss in chosen], _spread(examples, queries)


def prose(count: Count) -> list[str]:
    """Paragraphs of Markdown."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    paragraphs = itertools.chain(*(document.read_text().split("\n\n") for document in documents))
    return [text for part in paragraphs if len(text := part.strip()) > 40 and count(text) <= MOST_TOKENS]


def translations(count: Count) -> list[str]:
    return [text for text in _translations() if 30 <= len(text) <= 600 and count(text) <= MOST_TOKENS]


def _translations() -> Iterator[str]:
    files = [file for name in _CATALOGUES for file in sorted(Path("/usr/share/locale").glob(f"*/*/{name}.mo"))]
    if not files:
        raise SystemExit("error: no translations in /usr/share/locale: this container's image has left them out")
    for file in files:
        with file.open("rb") as catalogue:
            # Few of each language: the messages of one program repeat themselves.
            said = [text.strip() for text in gettext.GNUTranslations(catalogue)._catalog.values() if text]  # noqa: SLF001
        yield from _spread(sorted(said), 40)


def joined(count: Count, lengths: range, number: int) -> list[str]:
    """Glosses after each other up to about as many tokens as `lengths` says, evenly."""
    pool = iter(_spread(glosses(), 50 * number))
    return [_grow(next(pool), pool, "; ", length, count) for length in _spread(lengths, number)]


def of_tokens(tokens: int, count: Count) -> str:
    """A text of exactly so many tokens, of the words of glosses."""
    words = " ".join(_spread(glosses(), 40)).split()
    text = _grow(words[0], iter(words[1:]), " ", tokens, count)
    while count(text) < tokens:
        text += " so"
    assert count(text) == tokens
    return text


def _grow(text: str, more: Iterator[str], glue: str, tokens: int, count: Count) -> str:
    while count(longer := text + glue + next(more)) <= tokens:
        text = longer
    return text


def _spread(items: Iterable, number: int) -> list:
    items = list(items)
    return [items[index * len(items) // number] for index in range(min(number, len(items)))]
