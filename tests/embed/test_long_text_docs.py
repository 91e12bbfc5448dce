"""docs/long_text.md: its program runs, and its sets of characters are the splitter's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engram.embed import _split

PAGE = (Path(__file__).parents[2] / "docs" / "long_text.md").read_text("utf-8")


@pytest.mark.usefixtures("model_files")
def test_its_program_runs_as_printed(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"v1::[0-9a-f]{64} \d{4} \d\d", first)
    assert second in {"0", "1", "2"}


def characters(name):
    """The set that the page names so: `. !` in backquotes, U+0009 to U+000D, U+0020."""
    [said] = re.findall(rf"^- \*\*{name}\*\*(?:, [^:]*)?: (.*?)(?=\n- |\n\n)", PAGE, re.MULTILINE | re.DOTALL)
    found = set()
    for quoted in re.findall(r"`([^`]+)`", said):
        found |= set(quoted.replace(" ", ""))
    for first, last in re.findall(r"U\+([0-9A-F]{4})(?: to U\+([0-9A-F]{4}))?", said):
        found |= set(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return found


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Blank", _split._BLANKS),
        ("Stop", _split._STOPS),
        ("Full stop", _split._FULL_STOPS),
        ("Closer", _split._CLOSERS),
    ],
)
def test_its_characters_are_the_splitters(name, ours):
    assert characters(name) == set(ours)


def test_its_line_breaks_are_the_splitters():
    singles = {c for c in map(chr, range(0x3000)) if re.fullmatch(_split._BREAK, c)}
    assert characters("Line break") == singles
    assert re.fullmatch(_split._BREAK, "\r\n")
