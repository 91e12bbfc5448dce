"""docs/rpc.md says what the door does: its client runs, and its tables are the Structs'."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from dict_service import DictService

from engram.errors import WIRE_ERRORS
from engram.gateway import serve_rpc
from engram.wire import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "rpc.md").read_text()


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


def test_the_page_names_every_method_with_its_fields_and_every_error():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", PAGE, re.MULTILINE))
    for name, (request, _) in METHODS.items():
        if name != "hello":
            assert set(request.__struct_fields__) <= set(re.findall(r"\w+", rows[name])), name
    assert not [code for code in WIRE_ERRORS if f"`{code}`" not in PAGE]
