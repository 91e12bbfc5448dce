"""The line of the file that is wrong, in odd TOML too."""

from __future__ import annotations

import re
import time

import pytest

from engram.errors import BadRequest
from engram.node import load_config
from engram.node._toml import read_toml

ODD = '''\
# a comment with port = 1 in it
"host" = "127.0.0.1"  # [models.no]

log_level \t=  "info"
\'on_long\' = "chunk"

[ actors . "census" ]  # = "
class = "a.b:C"
notes = """
port = 9
[models.in-a-string]
"""
names = [
  "]", # ]
  \'[models.in-an-array]\',
]
deep.er.still = {x = 1, "y z" = [{a = "}"}]}

[[actors.census.rules]]
when = 1979-05-27T07:32:00Z

[models]
mpnet = {backend = "static", path = "/m"}
potion.backend = "static"
potion.path = "/p"
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "node.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path.relative_to(tmp_path)

    return write


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("host", 2),
        ("log_level", 4),
        ("on_long", 5),
        ("actors", 7),
        ("actors.census", 7),
        ("actors.census.class", 8),
        ("actors.census.notes", 9),
        ("actors.census.names", 13),
        ("actors.census.deep", 17),
        ("actors.census.deep.er.still.y z", 17),
        ("actors.census.rules", 19),
        ("actors.census.rules.when", 20),
        ("models.mpnet", 23),
        ("models.mpnet.path", 23),
        ("models.potion.path", 25),
        ("models.potion.dim", 24),  # missing: its table's first line
        ("actors.census.plugin", 7),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_has_its_line(file, key, line, ending):
    found = read_toml(file(ODD.replace("\n", ending)))
    assert found.title(key) == f"node.toml, line {line}: {key}"


def test_a_key_that_is_nowhere_has_no_line(file):
    assert read_toml(file(ODD)).title("port") == "node.toml: port"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n\nport = 70000", "node.toml, line 3: port = 70000 will not do. Allowed: 0 to 65535"),
        ("# x\nprot = 1", "node.toml, line 2: prot is not a key of a node; did you mean port?"),
        ('\n[models.m]\nbackend = "static"\npaht = "/m"', "node.toml, line 4: models.m.paht is not a key"),
        ('\n[models.m]\nbackend = "static"', "node.toml, line 2: models.m.path is missing"),
        ('\n\n[models."a/b"]\nbackend = "static"', 'node.toml, line 3: models.a/b: "a/b" will not do as a name'),
        ('\n[actors.census]\nclass = "no"', 'node.toml, line 3: actors.census.class = "no" will not do'),
        ("\n[actors.census]\nx = 1", "node.toml, line 2: actors.census: give either class or plugin"),
        ("\nactors = {census = 3}", "node.toml, line 2: actors.census = 3 will not do"),
        ("port = 1\n\n'port' = 2", "node.toml, line 3: port is here again, after line 1; keep one of them"),
        ("[models.m]\nx = 1\n[models.m]", "node.toml, line 3: models.m is here again, after line 1"),
        ("a = 1\nport = what\n", "node.toml, line 2: not TOML: Invalid value, at column 8"),
        ('a = 1\nb = """\nc = 2\n', "node.toml, line 2: not TOML: Unterminated string, and so to the end of the file"),
        ("a = 1\nb = [1,\nc = 2\n", "node.toml, line 3: not TOML: "),
        ("a = 1\nb = [1,\n2,\n", "node.toml, line 2: not TOML: "),
        ("[[r]]\nx = 1\n[[r]]\nx = 2\n[r", "node.toml, line 5: not TOML: "),
        ("a = {x = 1, x = 2}", "node.toml, line 1: not TOML: Duplicate inline table key 'x'"),
        ("a = " + "[" * 100_000, "node.toml is nested too deep"),
        (b"a = 1\n# \xff", "node.toml, line 2: not UTF-8 at byte 8"),
        ("#" * (256 * 1024 + 1), "node.toml is over the limit of 262144 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(file, text, says):
    path = file(text)
    with pytest.raises(BadRequest, match=re.escape(says)):
        load_config(path)


@pytest.mark.parametrize("text", ["a = [\n" + "1,\n" * 60_000 + "]\nport = 0\n", 'a = """\n' + "x\n" * 60_000])
def test_a_long_statement_is_not_looked_through_line_by_line(tmp_path, text):
    """It took an hour to say which line was wrong."""
    (tmp_path / "node.toml").write_text(text)
    began = time.thread_time()
    with pytest.raises(BadRequest, match=r"node\.toml"):
        load_config(tmp_path / "node.toml")
    assert time.thread_time() - began < 5
