"""An ENV_FILE of the first Engram's: what is applied, what is named, what is refused, and on which line."""

from __future__ import annotations

import pytest

from engram.errors import BadRequest
from engram.node import Config, env_file, load_config


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / ".env.miner"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return {"ENV_FILE": str(path)}

    return write


AS_THE_FIRST_ONES = """\
# Bittensor
WALLET_NAME=default
WALLET_HOTKEY=default
SUBTENSOR_NETWORK=test          # test | finney | local
NETUID=450

USE_LOCAL_EMBEDDER=true
LOCAL_EMBEDDING_MODEL=all-MiniLM-L6-v2
EMBEDDING_DIM=384
VECTOR_STORE_BACKEND=faiss
FAISS_INDEX_PATH=./data/miner.index
EXTERNAL_IP=YOUR_PUBLIC_IP       # required: your server's public IP
MAX_VECTORS_PER_NODE=5000000
RATE_LIMIT_MAX_REQUESTS=100
MINER_MAX_BODY_BYTES=10485760    # 10 MB max request body
REQUIRE_HOTKEY_SIG=true
# ALLOWED_VALIDATOR_HOTKEYS=5F...,5G...   # restrict to specific validators
REQUIRE_METAGRAPH_REG=false
export LOG_LEVEL="WARNING"
ARWEAVE_KEY='{"kty":"RSA","d":"secret words"}'
OPENAI_API_KEY=   # none
"""


def test_what_it_says_is_applied_and_what_it_cannot_say_is_named(file):
    environ = file(AS_THE_FIRST_ONES)
    assert load_config(None, None, environ) == Config(unsigned="nobody", log_level="warning")
    named = env_file(environ).not_applied
    assert [each.name for each in named] == [
        "WALLET_NAME", "WALLET_HOTKEY", "SUBTENSOR_NETWORK", "NETUID", "VECTOR_STORE_BACKEND", "FAISS_INDEX_PATH",
        "EXTERNAL_IP", "MAX_VECTORS_PER_NODE", "RATE_LIMIT_MAX_REQUESTS", "ARWEAVE_KEY",
    ]  # fmt: skip
    assert named[3].place == f"{environ['ENV_FILE']}, line 5: NETUID"
    assert "chain is not built yet" in named[3].why
    assert "secret" not in repr(named)


def test_the_nodes_own_variables_may_stand_in_it(file):
    environ = file("ENGRAM_PORT=9000\nMINER_PORT=9001\nENGRAM_NODE=engram://127.0.0.1:9000\n")
    assert load_config(None, None, environ) == Config(port=9000, http_port=9001)
    assert [each.name for each in env_file(environ).not_applied] == ["ENGRAM_NODE"]


def test_without_one_there_is_nothing_to_say():
    for environ in ({}, {"ENV_FILE": ""}):
        assert env_file(environ).not_applied == ()
        assert load_config(None, None, environ) == Config()


def test_it_stands_over_the_file_and_under_environment_and_flags(file, tmp_path):
    environ = file("LOG_LEVEL=ERROR\n")
    toml = tmp_path / "node.toml"
    toml.write_text('log_level = "debug"\n')
    assert load_config(toml, None, environ).log_level == "error"
    assert load_config(toml, None, environ | {"ENGRAM_LOG_LEVEL": "info"}).log_level == "info"
    assert load_config(toml, {"log_level": "warning"}, environ).log_level == "warning"


VALUES = {
    "LOG_LEVEL=INFO": "INFO", "export LOG_LEVEL=INFO": "INFO", "LOG_LEVEL = INFO": "INFO", 'LOG_LEVEL="INFO"': "INFO",
    "LOG_LEVEL='INFO' # words": "INFO", "LOG_LEVEL=INFO # words": "INFO", "  LOG_LEVEL=INFO": "INFO", "LOG_LEVEL=info\r": "info",
    'LOG_LEVEL="\\I\\N\\F\\O"': "INFO",
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES, ids=repr)
def test_values_are_written_in_the_usual_ways(file, text):
    assert load_config(None, None, file(f"# first\n\n{text}\n")).log_level == "info"


@pytest.mark.parametrize(
    "text", ["LOG_LEVEL=", "LOG_LEVEL=''", 'LOG_LEVEL=""', "LOG_LEVEL=  # nothing", "LOG_LEVEL=#x", ""]
)
def test_an_empty_value_is_as_good_as_none(file, text):
    assert load_config(None, None, file(text)) == Config()


REFUSED = {
    "LOG_LEVEL=loud": 'line 1: LOG_LEVEL = "loud" will not do. Allowed: TRACE, DEBUG, INFO',
    "\n\nREQUIRE_HOTKEY_SIG=maybe": 'line 3: REQUIRE_HOTKEY_SIG = "maybe" will not do. Allowed: true, false',
    "REQUIRE_METAGRAPH_REG=true": 'line 1: REQUIRE_METAGRAPH_REG = "true": the chain is not built yet',
    "ALLOWED_VALIDATOR_HOTKEYS=5F": "a list of callers is not built yet",
    "DP_EPSILON=3.0": "noise on private vectors is not built yet; set it to none",
    "ENGRAM_ENV=mainnet": "set REQUIRE_HOTKEY_SIG=true, which it implied",
    "EMBEDDING_DIM=1536": "the node embeds with all-MiniLM-L6-v2",
    "USE_LOCAL_EMBEDDER=false": "the node embeds with all-MiniLM-L6-v2",
    "NETUID=1\nNETUID=2": "line 2: NETUID is here again, after line 1; keep one of them",
    "MINER_PORT=80\nENGRAM_HTTP_PORT=81": "line 2: ENGRAM_HTTP_PORT says again what",
    "ENGRAM_PROT=1": "line 1: ENGRAM_PROT is not a key of a node; did you mean port?",
    "MINER_PORT=x": 'line 1: MINER_PORT = "x" will not do. Allowed: 0 to 65535',
    "NETUID": "line 1: not NAME=value",
    "NET UID=1": "line 1: not NAME=value",
    "# x\n=1": "line 2: not NAME=value",
    'LOG_LEVEL="INFO': "line 1: not NAME=value",
    'LOG_LEVEL="INFO" x': "line 1: not NAME=value",
    b"LOG_LEVEL=INFO\nX=\xff": "line 2: not UTF-8 at byte 17",
    b"A=" + b"x" * 300_000: "over the limit of 262144 bytes",
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=lambda value: repr(value)[:40])
def test_what_is_wrong_is_refused_by_file_and_line(file, text, words):
    with pytest.raises(BadRequest) as caught:
        load_config(None, None, file(text))
    assert words in caught.value.message
    assert ".env.miner" in caught.value.message
    assert caught.value.field in ("ENV_FILE", "http_port", "prot")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for name in ("none", "."):
        with pytest.raises(BadRequest, match="ENV_FILE"):
            load_config(None, None, {"ENV_FILE": str(tmp_path / name)})


@pytest.mark.parametrize("value", ["none", "0", "false", "None"])
def test_what_asks_for_nothing_is_fine(file, value):
    assert load_config(None, None, file(f"DP_EPSILON={value}\nENGRAM_ENV=dev\nUSE_LOCAL_EMBEDDER=1\n")) == Config()


def test_a_long_line_takes_no_long_time(file):
    assert load_config(None, None, file("A=x" + " " * 200_000 + "y\nB='" + "\\" * 50_000 + "'\n")) == Config()
