"""HTTP of a real node, as programs that are not ours ask it: curl, OpenAI's client, Prometheus's parser, schemathesis."""

import base64
import json
import re
import shutil
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from e2e.processes import NODE, run

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
CONFIG = Path(__file__).parent / "schemathesis.toml"


def shape(value):
    if isinstance(value, dict):
        return {name: shape(inner) if name != "data" else None for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_pages_examples_answer_as_printed(own_node):
    examples = re.findall(r"```sh\n(.*?)```\n```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == PAGE.count("```sh")
    for command, printed in examples:
        here = command.replace("http://127.0.0.1:8091", own_node.http_url)
        done = subprocess.run(["/bin/bash", "-c", here], capture_output=True, text=True, timeout=30, check=True)
        assert shape(json.loads(done.stdout)) == shape(json.loads(printed)), command
        if '"error"' in printed:
            assert json.loads(done.stdout) == json.loads(printed)


def test_openais_client_gets_the_nodes_vectors(node, client):
    openai = pytest.importorskip("openai")
    texts = ["The cat sat on the mat.", "Rome is in Italy."]
    expected = [pytest.approx(vector) for vector in client.embed(texts)]
    with openai.OpenAI(base_url=f"{node.http_url}/v1", api_key="none", max_retries=0) as asking:
        for encoding in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            done = asking.embeddings.create(model="v1", input=texts, **encoding)
            if encoding.get("encoding_format") == "base64":
                found = [struct.unpack("<384f", base64.b64decode(each.embedding)) for each in done.data]
            else:
                found = [each.embedding for each in done.data]
            assert found == expected
            assert (done.usage.prompt_tokens, [each.index for each in done.data]) == (done.usage.total_tokens, [0, 1])
        assert len(asking.embeddings.create(model="v1", input="one", dimensions=384).data[0].embedding) == 384
        with pytest.raises(openai.UnprocessableEntityError, match="dimensions"):
            asking.embeddings.create(model="v1", input="one", dimensions=100)
        with pytest.raises(openai.BadRequestError, match="input"):
            asking.embeddings.create(model="v1", input=[1, 2, 3])
        with pytest.raises(openai.APIStatusError, match="no-such-model"):
            asking.embeddings.create(model="no-such-model", input="one")


def test_the_pages_python_runs_as_printed(node):
    pytest.importorskip("openai")
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    here = code.replace("http://127.0.0.1:8091", node.http_url)
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "384\n"


def test_prometheus_reads_what_every_door_has_answered(node, client):
    parser = pytest.importorskip("prometheus_client.parser")
    client.status()
    with urllib.request.urlopen(f"{node.http_url}/metrics", timeout=10) as answer:
        families = {each.name: each for each in parser.text_string_to_metric_families(answer.read().decode())}
    counted = {(each.labels["door"], each.labels["method"]) for each in families["engram_requests"].samples}
    assert ("rpc", "status") in counted
    assert families["engram_records"].samples[0].value >= 0


def schemathesis(node, *arguments):
    pytest.importorskip("schemathesis")
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"]
    done = subprocess.run(
        [
            *command,
            f"{node.http_url}/openapi.json",
            "--checks",
            "all",
            "--no-color",
            "--continue-on-failure",
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=node.data.parent,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert node.process.poll() is None


def test_the_description_holds(own_node):
    """A few cases of every operation; the longer run is `test_the_description_holds_for_long`."""
    schemathesis(own_node, "--max-examples", "2", "--phases", "examples,fuzzing", "--seed", "1")


@pytest.mark.slow
def test_the_description_holds_for_long(own_node):
    schemathesis(own_node, "--max-examples", "40", "--max-time", "240")


def test_a_port_that_is_taken_is_told(node, tmp_path):
    taken = node.http_url.rsplit(":", 1)[1]
    ran = run(NODE, "--data", tmp_path / "data", "--port", "0", "--http-port", taken)
    assert ran.code != 0
    assert f"port {taken} on 127.0.0.1 is taken by another process" in ran.err


def test_a_node_without_http_says_so(make_node):
    assert make_node("quiet", "--http-port", "-1").http_url is None
