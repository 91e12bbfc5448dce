"""The examples of `docs/sdk.md` run as printed, but for the node's address."""

import re
from pathlib import Path

import pytest
from doors import RealNode

import engram

PAGE = (Path(engram.__file__).parent.parent / "docs" / "sdk.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.usefixtures("model_files")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.splitlines()[1][:40])
def test_an_example_runs(example, tmp_path, capsys):
    wire = "http" if "http://" in example else "rpc"
    node = RealNode(tmp_path / "memory", wire)
    given = {
        "engram://127.0.0.1:8090": node.url,
        "http://127.0.0.1:8091": node.url,
        "EngramClient()": f"EngramClient({node.url!r})",
    }
    for printed, here in given.items():
        example = example.replace(printed, here)
    names = {}
    try:
        exec(compile(example, "sdk.md", "exec"), names)
    finally:
        if "client" in names:
            names["client"].close()
        node.stop()
    if "query" in example:
        assert "The user prefers short answers." in capsys.readouterr().out


def test_every_call_of_the_api_stands_on_the_page():
    from engram.sdk import Api

    calls = {name for name in vars(Api) if not name.startswith("_") and name not in ("keys", "namespaces")}
    missing = {name for name in calls if f"{name}(" not in PAGE}
    assert missing == set()


def test_every_error_of_the_wire_stands_on_the_page():
    from engram.errors import WIRE_ERRORS

    named = {cls.__name__ for cls in WIRE_ERRORS.values()} - {"HelloRequired", "UnknownMethod"}
    assert {name for name in named if f"`{name}`" not in PAGE} == set()
