"""Every example of docs/filters.md holds."""

import json
import re
from pathlib import Path

import pytest

from engram.errors import EngramError
from engram.filter import MAX_DOTS, MAX_LIST_VALUES, MAX_TEXT_BYTES, matches, parse, to_json, to_text
from engram.filter._text import KEYWORDS
from engram.limits import LIMITS

DOC = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
SPAN = re.compile(r"(?<!`)(`+)(?!`) ?(.+?) ?(?<!`)\1(?!`)")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


def rows(*heading):
    """Give the cells of the tables under a heading, each as the list of its code spans and its text."""
    line = re.escape(f"| {' | '.join(heading)} |")
    table = re.findall(rf"^{line}\n\|[-|]+\|\n((?:\|.*\n)+)", DOC, re.MULTILINE)
    assert table, heading
    for line in "".join(table).splitlines():
        cells = line.strip("|").split(" | ")
        yield [[code for _, code in SPAN.findall(cell)] or cell.strip() for cell in cells]


OPERATORS = [(text, spec) for text, spec, _ in rows("text", "JSON", "matches where")] + list(rows("text", "JSON"))
MATCHES = list(rows("filter", "metadata", "matches"))


@pytest.mark.parametrize(("texts", "specs"), OPERATORS, ids=lambda cell: cell[0])
def test_both_spellings_of_a_row_are_one_filter(texts, specs):
    texts = [texts[0], *(texts[0].replace(" = ", f" {sign} ").replace(" != ", f" {sign} ") for sign in texts[1:])]
    trees = [parse(text) for text in texts] + [parse(json.loads(spec)) for spec in specs]
    assert all(tree == trees[0] for tree in trees)
    assert to_text(trees[0]) == texts[0]
    assert to_json(trees[0]) == json.loads(specs[0])


@pytest.mark.parametrize(("text", "metadata", "answer"), MATCHES, ids=lambda cell: cell[0])
def test_a_row_matches_as_it_says(text, metadata, answer):
    assert matches(parse(text[0]), json.loads(metadata[0])) is {"yes": True, "no": False}[answer.strip()]


def test_the_tables_were_read():
    assert len(OPERATORS) == 28
    assert len(MATCHES) == 39


def test_the_opening_example_is_one_filter_in_both_spellings():
    (text,), (spec,) = blocks("filter"), blocks("json")
    assert parse(text) == parse(json.loads(spec)) == parse(spec)


def test_the_python_example_runs():
    (code,) = blocks("python")
    exec(compile(code, "docs/filters.md", "exec"), {})


@pytest.mark.parametrize("block", blocks("error"), ids=lambda block: block.split("\n")[0])
def test_an_error_reads_as_it_is_shown(block):
    spec, _, message = block.partition("\n\n")
    with pytest.raises(EngramError) as caught:
        parse(spec)
    assert str(caught.value) == message.rstrip("\n")
    assert caught.value.field == "filter"


def test_the_keywords_and_limits_are_those_of_the_code():
    listed = re.search(r"^Keywords, in any case of letters: `([^`]+)`", DOC, re.MULTILINE)[1]
    assert set(listed.split()) == KEYWORDS
    limits = [int(cell.strip().replace(",", "").removesuffix(" KiB")) for _, cell in rows("what", "at most")]
    expected = [LIMITS.filter_depth, LIMITS.filter_nodes, MAX_LIST_VALUES, MAX_TEXT_BYTES // 1024, MAX_DOTS]
    assert limits == expected
