"""docs/rpc.md says what the door does: its client runs, and its tables are the Structs'."""

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
import trio
from dict_service import DictService
from msgspec import UNSET

from engram.errors import WIRE_ERRORS
from engram.gateway import serve_rpc
from engram.limits import Limits
from engram.wire import METHODS, Expect

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rpc.md").read_text()
sys.path.append(str(ROOT / "scripts"))

import rpc_docs  # noqa: E402


@pytest.mark.trio
async def test_the_pages_client_works_with_no_code_of_ours(nursery):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "engram" not in script
    server = await nursery.start(partial(serve_rpc, DictService(), port=0))
    run = partial(
        subprocess.run,
        [sys.executable, "-c", script, str(server.addresses[0][1])],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    done = await trio.to_thread.run_sync(run)
    put, query = done.stdout.splitlines()
    assert put.startswith("[None, {'cid': 'v1::")
    assert "'metadata': {'kind': 'cat'}" in query
    nursery.cancel_scope.cancel()


NODE = shutil.which("node")
HAS_MSGPACK = (
    NODE is not None
    and subprocess.run([NODE, "-e", 'require("@msgpack/msgpack")'], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(
    not HAS_MSGPACK, reason="needs node, and @msgpack/msgpack where NODE_PATH leads: npm install @msgpack/msgpack"
)
@pytest.mark.trio
async def test_the_pages_other_client_works_on_node(nursery, tmp_path):
    (script,) = re.findall(r"```javascript\n(.*?)```", PAGE, re.DOTALL)
    assert len(script.splitlines()) == 10
    (tmp_path / "client.js").write_text(script)
    server = await nursery.start(partial(serve_rpc, DictService(), port=0))
    run = partial(
        subprocess.run,
        [NODE, tmp_path / "client.js", str(server.addresses[0][1])],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    done = await trio.to_thread.run_sync(run)
    assert "cid: 'v1::" in done.stdout
    assert "text: 'The cat sat on the mat.'" in done.stdout
    nursery.cancel_scope.cancel()


def test_the_pages_tables_are_what_the_structs_say():
    assert rpc_docs.written(PAGE) == PAGE, "run: python scripts/rpc_docs.py"


def test_every_method_limit_and_error_is_on_the_page():
    for name in METHODS:
        assert f"### `{name}`\n" in PAGE
    assert not [code for code in WIRE_ERRORS if f"| `{code}` |" not in PAGE]
    assert not [name for name in Limits.__struct_fields__ if f"| `{name}` |" not in PAGE]


def test_every_place_that_the_page_points_to_is_on_it():
    places = {line.lstrip("# ").strip("`").lower() for line in PAGE.splitlines() if line.startswith("###")}
    assert set(re.findall(r"\]\(#(\w+)\)", PAGE)) <= places


def test_a_changed_struct_changes_the_page():
    class Odd(msgspec.Struct):
        """An odd one."""

        count: Annotated[int, msgspec.Meta(ge=1, le=9)]
        kind: Literal["a", "b"] = "a"
        """Which of | them."""
        name: Expect = UNSET

    assert rpc_docs.table(Odd, "field").splitlines()[2:] == [
        "| `count` | int, 1 to 9 | required |  |",
        '| `kind` | `a` or `b` | `"a"` | Which of \\| them. |',
        "| `name` | str or nil | absent |  |",
    ]
