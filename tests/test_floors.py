"""The floors of `docs/architecture.md`: imports go down, never up; the world comes in through ports."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import engram

ROOT = Path(engram.__file__).parent
GROUND = {"errors", "limits", "decoding", "ports", "cid", "record", "documents", "identity", "filter", "native"}
LIBRARIES = {"store", "index", "embed", "proofs", "scoring"}
MAY_IMPORT = {
    "native": set(),
    "errors": set(),
    "limits": set(),
    "decoding": set(),
    "ports": set(),
    "cid": {"errors", "native"},
    "record": {"cid", "decoding", "errors", "limits", "native"},
    "documents": {"cid", "errors", "limits", "record"},
    "identity": {"errors", "limits", "native", "ports"},
    "filter": {"errors", "limits"},
    "events": GROUND,
    "wire": GROUND,
    "runtime": GROUND | {"events"},  # actors follow the log
    "index": GROUND,
    "embed": GROUND,
    "store": GROUND | {"events", "index"},
    "proofs": GROUND | {"events", "wire"},
    "scoring": GROUND | {"events", "proofs"},
    "sdk": GROUND | {"wire"},
    "gateway": GROUND | {"wire", "runtime"},
    "actors": GROUND | LIBRARIES | {"events", "wire", "runtime"},
    "node": GROUND | LIBRARIES | {"events", "wire", "runtime", "actors", "gateway", "sdk"},
    "testing": GROUND | LIBRARIES | {"events", "wire", "runtime", "actors", "gateway", "node"},
    "cli": GROUND | {"events", "wire", "embed", "proofs", "scoring", "sdk", "node", "runtime", "store", ""},
    "": {"errors", "node", "sdk"},  # the package itself
}
THE_WORLD = {"socket", "time", "random", "sqlite3", "secrets", "subprocess", "urllib", "threading"}
TOUCH_THE_WORLD = {
    "runtime._world": {"time", "sqlite3", "threading"},  # the real ports
    "runtime._memory": {"sqlite3", "threading"},  # the ports in memory
    "sdk._async._http": {"socket", "threading"},
    "sdk._sync._http": {"socket", "threading"},
    "sdk._fork": {"threading"},  # a lock: any thread of a forked child may come first
    "sdk._async._link": {"socket"},  # a client has no ports: it is a program of its own
    "sdk._async._net": {"socket"},
    "sdk._async._pool": {"threading"},
    "sdk._policy": {"threading"},  # a lock: any thread may use a client
    "sdk._sync._link": {"socket"},
    "sdk._sync._net": {"socket", "threading", "time"},
    "sdk._sync._pool": {"threading"},
    "embed._sources": {
        "subprocess",
        "time",
        "threading",
        "urllib",
    },  # fetching the weights, once, before there is a node
    "embed._hub": {"urllib"},
    "embed._http": {"socket", "threading", "time"},  # embedding servers: on a thread of their own, in cut waits
    "embed._remote": {"time"},
    "embed._url": {"urllib"},  # its parser
    "wire._targets": {"urllib"},  # its parser
    "embed._sentence_transformers": {"threading"},  # a lock around what two threads must not do at once
    "node._home": {"threading"},  # the one thread of an embedded memory
    "node._gate": {"threading"},  # the callers' threads, which read
    "testing.__main__": {"time"},  # how long it takes, in this world
    "testing._loop": {"random"},  # the seeded order of trio's tasks
    "testing._rng": {"random"},  # seeded, every one
    "testing._tables": {"sqlite3"},  # in memory
    "store._audit._tables": {"sqlite3"},  # its error class, and databases that nobody needs after a crash
    "store._bodies": {"threading"},  # a lock: any thread may have a segment mapped
    "store._damage": {"threading"},  # a lock: readers, scrub and writer all mark what is damaged
    "store._index_files": {"threading"},  # a lock: nothing is written once the folder is released
    "store._opening": {"sqlite3"},  # its error class
    "store._verify_tables": {"sqlite3"},  # its error class
    "store._reading": {"threading"},  # a lock around the reading connection
    "store._store": {"sqlite3", "threading"},  # its error class; a lock, held until the tables know of an erasure
}


def modules() -> list[tuple[str, Path]]:
    paths = sorted(path for path in ROOT.rglob("*.py") if "target" not in path.parts)
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__"), path) for path in paths]


def imports(path: Path, *, for_types: bool = False) -> set[str]:
    """Every module that is imported when code runs; what only the type checker sees counts where `for_types` says so."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "engram" or for_types)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_down(name, path):
    own = room(name)
    for imported in imports(path):
        if imported.split(".")[0] != "engram":
            continue
        parts = imported.split(".")[1:]
        if not parts:
            continue
        target = parts[0] if parts[0] in MAY_IMPORT else ""
        assert target == own or target in MAY_IMPORT[own], f"{name} imports {imported}"
        private = [part for part in parts[1:] if part.startswith("_") and part != "_core"]
        assert target == own or not private, f"{name} reaches into {imported}"


def test_every_room_has_its_floor():
    rooms = {room(name) for name, _ in modules()}
    assert rooms == set(MAY_IMPORT)


def test_no_two_files_need_each_other():
    """A circle raises CycleError, which names its files; what is imported late, or for types alone, counts too."""
    files = {f"engram.{name}": path for name, path in modules() if path.stem != "__init__"}
    graph = {name: imports(path, for_types=True) & set(files) for name, path in files.items()}
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(files)


def test_the_world_comes_in_through_ports():
    for name, path in modules():
        if room(name) == "cli":
            continue
        touched = {imported.split(".")[0] for imported in imports(path)} & THE_WORLD
        assert touched <= TOUCH_THE_WORLD.get(name, set()), name


def test_the_version_is_written_once_in_each_language():
    from engram.native import _core

    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]["version"]
    assert engram.__version__ == _core.__version__ == project


def test_a_client_loads_no_node():
    code = "import sys, engram.sdk; print(sorted({'trio', 'sqlite3', 'numpy', 'rich', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_itself_imports_nothing():
    code = "import sys, engram; print([name for name in sys.modules if name.startswith('engram.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
