"""What a client needs of the machine that it runs on: no node, no database, no loop that it does not use."""

import subprocess
import sys

import pytest
from doors import WIRES

NODE_PARTS = [
    "trio", "sqlite3", "cryptography", "starlette", "hypercorn", "structlog", "cyclopts", "rich", "numpy", "h2",
    "platformdirs", "engram.node", "engram.gateway", "engram.actors", "engram.store", "engram.index", "engram.events",
    "engram.embed", "engram.runtime", "engram.cli", "engram.testing",
]  # fmt: skip

WITHOUT = """
import sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
import asyncio
from engram.sdk import AsyncEngramClient, EngramClient
with EngramClient(sys.argv[1], timeout=20) as client:
    cid = client.ingest("a", {"k": 1.5})
    assert client.get(cid, include_vector=True).text == "a"
    assert client.query("a")[0]["cid"] == cid
async def main():
    async with AsyncEngramClient(sys.argv[1], timeout=20) as client:
        assert (await client.get(cid)).metadata == {"k": 1.5}
        assert await client.ingest_many(["a", "b"])
asyncio.run(main())
"""


def run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("wire", WIRES)
def test_a_client_works_where_there_is_nothing_of_a_node(node):
    run(WITHOUT, node.url, ",".join(NODE_PARTS))


def test_importing_it_loads_msgspec_and_the_native_core_alone():
    code = (
        "import sys; before = set(sys.modules); import engram.sdk\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*sorted(new - {'typing_extensions'}))\n"  # msgspec's, where it is there
        "print(*sorted({'asyncio', 'ssl', 'concurrent', 'multiprocessing'} & set(sys.modules)))"
    )
    assert run(code) == "engram msgspec\n\n"


def test_a_client_over_rpc_loads_no_http_client_and_a_blocking_one_no_loop(node):
    code = (
        "import sys; from engram.sdk import EngramClient\n"
        "with EngramClient(sys.argv[1]) as client: client.ingest('a')\n"
        "print(*sorted({'httpx', 'anyio', 'asyncio', 'ssl', 'cryptography'} & set(sys.modules)))"
    )
    assert run(code, node.url) == "\n"


def test_everything_that_it_exports_is_there():
    import engram.sdk

    for name in engram.sdk.__all__:
        assert getattr(engram.sdk, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'AsyncNothing'"):
        engram.sdk.AsyncNothing  # noqa: B018
