"""What reads strangers' bytes stands in `docs/hostile.md`, with what is thrown at it; a new one without turns this red."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hostile import test_python_decoders as decoders

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "engram" / "native"
PAGE = (ROOT / "docs" / "hostile.md").read_text()

BYTES = re.compile(r"\b(bytes|bytearray|Buffer|memoryview)\b")
DECODE = re.compile(
    r"msgspec\.(json|msgpack)\.(decode|Decoder)|\bjson\.loads?\(|tomllib\.loads?|zipfile\.ZipFile|b64decode|_core\.\w*decode"
)
ELSEWHERE = {  # path or folder: what it decodes
    "engram/cli/": "what our own node has answered, or a user types",
    "engram/testing/": "the simulation's own notes",
    "engram/embed/": "files of known digests; a server's answers: tests/embed/test_remote.py",
    "engram/store/_tables.py": "SQLite's file: what cannot be read is folded again",
    "engram/store/_reading.py": "SQLite's rows",
    "engram/store/_audit/": "whole folders: test_forged_folders.py",
    "engram/runtime/_projection.py": "a plug-in's own state, out of a file of `projections/`",
    "engram/runtime/_event_actor.py": "what it has just encoded",
    "engram/node/_facts.py": "events of the open log, checked",
}


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def takers() -> set[str]:
    """Each function of the native core that takes bytes, by its name in the stubs."""
    found = set()
    for node in ast.parse((NATIVE / "_core.pyi").read_text()).body:
        functions = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in functions:
            if not isinstance(function, ast.FunctionDef):
                continue
            every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            if not any(arg.annotation and BYTES.search(ast.unparse(arg.annotation)) for arg in every):
                continue
            made = function.name in {"__new__", "__init__"}
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) and not made else ""
            found.add(node.name if made else prefix + function.name)
    return found


def targets() -> set[str]:
    found = set()
    for path in (NATIVE / "tests" / "fuzz").glob("*.rs"):
        tests = re.findall(r"#\[test\]\s+fn (\w+)", path.read_text())
        found |= {f"{path.stem}::{name}" for name in tests}
    return found - {"bounds::memory_out_of_proportion_is_seen"}


def test_every_native_function_that_takes_bytes_has_a_row():
    named = [name for row in rows("In the native core") for name in ticked(row[0])]
    assert len(named) == len(set(named))
    assert takers() - set(named) == set(), "say whose bytes these take, and which target of tests/fuzz feeds them"


def test_every_row_names_a_target_that_there_is_and_every_target_has_a_row():
    named = {name for row in rows("In the native core") for name in ticked(row[2])}
    assert named - targets() == set()
    assert targets() - named == {"filters::instant_and_name"}


def test_every_decoder_in_python_has_a_row_and_a_test():
    named = {name for row in rows("In Python") for name in ticked(row[0])}
    assert named == set(decoders.DECODERS) | set(decoders.IN_FOLDERS)


def test_every_module_that_decodes_bytes_has_a_row():
    named = {name for row in rows("In Python") for name in ticked(row[2])}
    assert [name for name in named if not (ROOT / name).is_file()] == []
    decoding = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "engram").rglob("*.py")
        if DECODE.search(path.read_text()) and not str(path.relative_to(ROOT)).startswith(tuple(ELSEWHERE))
    }
    assert decoding - named == set(), "give its decoder a row in docs/hostile.md and a place in DECODERS"
