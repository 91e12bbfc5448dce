"""The node's configuration: defaults, file and flags, and what errors say."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engram.embed import RemoteSpec, SentenceTransformersSpec, StaticSpec
from engram.errors import BadRequest
from engram.identity import NodeKey
from engram.node import ChallengeSpec, Config, default_toml, load_config, variable, variables

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "node.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_the_written_file_loads_to_exactly_the_defaults(file):
    assert load_config(file(default_toml())) == Config()


def test_the_written_file_has_every_key():
    commented = re.sub("^# (model_dir|tls_cert|tls_key) =", r"\1 =", default_toml(), flags=re.MULTILINE)
    keys = [line.split(" = ")[0] for line in commented.splitlines() if " = " in line and not line.startswith("#")]
    assert [*keys, "challenge", "models", "actors"] == list(Config.__struct_fields__)


def test_the_commented_key_may_be_used(file):
    text = default_toml().replace("# model_dir", "model_dir")
    assert load_config(file(text)) == msgspec.structs.replace(Config(), model_dir=Path("/srv/engram-model"))


def test_the_file_at_the_root_of_the_repository_is_what_init_writes():
    assert (ROOT / "node.toml").read_text("utf-8") == default_toml()


def test_every_default_is_one_that_the_file_may_hold(file):
    for name in Config.__struct_fields__:
        default = getattr(Config(), name)
        if default is not None:
            assert load_config(None, {name: default}) == Config()


def test_the_models_that_the_written_file_shows_may_be_used(file):
    head, _, models = default_toml().partition("# [models")
    uncommented = "".join(line.removeprefix("# ") + "\n" for line in f"# [models{models}".splitlines() if line != "#")
    config = load_config(file(head + uncommented))
    assert config.models == {
        "mpnet": SentenceTransformersSpec(path=Path("/models/all-mpnet-base-v2")),
        "potion": StaticSpec(path=Path("/models/potion-base-8M")),
        "openai": RemoteSpec(
            url="https://api.openai.com/v1", model="text-embedding-3-small", dim=1536, api_key_env="OPENAI_API_KEY"
        ),
    }


SERVER = '[models.m]\nbackend = "openai"\nmodel = "m"\n'


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("models = 3", "models", ["models = 3", "[models.mpnet]"]),
        ("[models]\nx = 3", "models.x", ["models.x = 3", "[models.mpnet]"]),
        ('[models."a/b"]\nbackend = "static"', "models", ['"a/b"', "1 to 32 letters"]),
        ('[models.v1]\nbackend = "static"', "models", ['"v1"', "not v1"]),
        ('[models.m]\npath = "/m"', "backend", ["models.m.backend is missing", '"sentence-transformers"']),
        ('[models.m]\nbackend = "torch"', "backend", ['models.m.backend = "torch"', '"openai"']),
        ('[models.m]\nbackend = "static"', "path", ["models.m.path is missing", "folder"]),
        ('[models.m]\nbackend = "static"\npath = ""', "path", ['models.m.path = ""']),
        ('[models.m]\nbackend = "static"\npaht = "/m"', "paht", ["models.m.paht", "did you mean path?"]),
        ('[models.m]\nbackend = "static"\nurl = "/m"', "url", ["not a key of the backend static"]),
        (SERVER, "url", ["models.m.url is missing"]),
        (SERVER + 'url = "x"', "url", ["models.m.url"]),
        (SERVER + 'url = "http://10.0.0.1/v1"', "url", ["http://10.0.0.1/v1", "insecure = true"]),
        (SERVER + 'url = "https://x"\ndim = 0', "dim", ["models.m.dim = 0", "1 to 4096"]),
        (SERVER + 'url = "https://x"\ndim = true', "dim", ["models.m.dim = true"]),
        (SERVER + 'url = "https://x"\ntimeout_s = nan', "timeout_s", ["1 to 50"]),
        (SERVER + 'url = "https://x"\ninsecure = 1', "insecure", ["true, false"]),
        ('[models.m]\nbackend = "openai"\nurl = "https://x"\nmodel = " "', "model", ["models.m.model"]),
    ],
)  # fmt: skip
def test_a_bad_model_is_refused_by_key(file, text, field, says):
    path = file(text)
    with pytest.raises(BadRequest) as caught:
        load_config(path)
    assert caught.value.field == field
    for part in [*says, str(path)]:
        assert part in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        'url = "https://me:sk-hidden@x/v1"',
        'url = "https://x/v1?key=sk-hidden"',
        'url = "https://x/v1"\napi_key_env = "sk-hidden"',
        'url = "https://x/v1"\napi_key = "sk-hidden"',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(file, line):
    with pytest.raises(BadRequest) as caught:
        load_config(file(SERVER + line))
    assert "hidden" not in caught.value.message


def test_plain_http_is_for_this_machine_unless_one_says_so(file):
    for url, more in (
        ("http://localhost:11434/v1", ""),
        ("http://127.0.0.1:8080", ""),
        ("http://10.0.0.1/v1", "insecure = true"),
    ):
        assert load_config(file(f'{SERVER}url = "{url}"\n{more}')).models["m"].url == url


def test_flags_go_over_the_file_and_the_file_over_the_defaults(file):
    path = file('port = 9000\nlog_level = "debug"\ndata_dir = "/a"')
    config = load_config(path, {"port": 9001, "data_dir": Path("/b")})
    assert (config.port, config.log_level, config.data_dir) == (9001, "debug", Path("/b"))
    assert config.host == Config().host


def test_the_environment_goes_over_the_file_and_flags_over_both(file):
    path = file('port = 9000\nlog_level = "debug"\nscrub_mb_s = 1')
    environ = {
        "ENGRAM_PORT": "9001",
        "ENGRAM_LOG_LEVEL": "error",
        "ENGRAM_ON_LONG": "",
        "ENGRAM_NODE": "x",
        "PORT": "1",
    }
    config = load_config(path, {"port": 9002}, environ)
    assert (config.port, config.log_level, config.scrub_mb_s, config.on_long) == (9002, "error", 1, "chunk")


def test_every_key_but_the_tables_has_its_variable():
    assert [*map(str.lower, variables())] == [f"engram_{name}" for name in Config.__struct_fields__[:-3]]
    written = {
        name: ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in msgspec.structs.asdict(Config()).items()
        if not isinstance(value, dict) and value is not None
    }
    assert load_config(None, None, {variable(name): value for name, value in written.items()}) == Config()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ENGRAM_PORT", "70000", 'ENGRAM_PORT = "70000" will not do. Allowed: 0 to 65535'),
        ("ENGRAM_PORT", "8o80", 'ENGRAM_PORT = "8o80" will not do. Allowed: 0 to 65535'),
        ("ENGRAM_PORT", "8090.5", 'ENGRAM_PORT = "8090.5" will not do. Allowed: 0 to 65535'),
        ("ENGRAM_LOG_LEVEL", "loud", 'ENGRAM_LOG_LEVEL = "loud" will not do. Allowed: "debug"'),
        ("ENGRAM_DATA_DIR", "a\0b", "ENGRAM_DATA_DIR = "),
        ("ENGRAM_ROLE", "validator", 'ENGRAM_ROLE = "validator": validators are not built yet'),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(name, value, says):
    with pytest.raises(BadRequest, match=f"^{re.escape(says)}") as caught:
        load_config(None, None, {name: value})
    assert caught.value.field == name.removeprefix("ENGRAM_").lower()


ALICE, BOB = (NodeKey(bytes([seed]) * 32).address for seed in (1, 2))


def test_challengers_are_keys(file):
    assert load_config(file(f'challengers = ["{ALICE}", "{BOB}"]')).challengers == (ALICE, BOB)
    assert load_config(None, None, {"ENGRAM_CHALLENGERS": f"{ALICE}, {BOB}"}).challengers == (ALICE, BOB)


def test_whom_a_node_challenges_is_a_table(file):
    written = '[challenge]\nnodes = ["engram://10.0.0.2:8090", "engram://b"]\nm = 16'
    assert load_config(file(written)).challenge == ChallengeSpec(nodes=("engram://10.0.0.2:8090", "engram://b"), m=16)


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        (f'challengers = ["{ALICE[:-1]}"]', "challengers", [f'line 2: challengers: "{ALICE[:-1]}"', "checksum"]),
        (f'challengers = ["{ALICE}", "{ALICE}"]', "challengers", ["twice"]),
        ('challengers = ["0x12"]', "challengers", ["'0' is no base58 digit", "`engram status`"]),
        ("challengers = 5", "challengers", ["challengers = 5 will not do"]),
        ("challengers = [5]", "challengers", ["challengers = [5] will not do"]),
        (f"challengers = {['a'] * 300}", "challengers", ["300 will not do"]),
        ("challenge = 3", "challenge", ["challenge = 3", "[challenge]"]),
        ("[challenge]\nm = 3", "nodes", ["challenge.nodes is missing", "engram://host:8090"]),
        ("[challenge]\nnodes = []", "nodes", ["1 to 1024"]),
        ('[challenge]\nnodes = ["http://b"]', "nodes", ["http://b", "engram://"]),
        ('[challenge]\nnodes = ["engram://b:0"]', "nodes", ["a port is 1 to 65535"]),
        ('[challenge]\nnodes = ["engram://b"]\nm = 1025', "m", ["line 4: challenge.m = 1025", "1 to 1024"]),
        ('[challenge]\nnodes = ["engram://b"]\nevery_s = 1', "every_s", ["10 to 86400"]),
        ('[challenge]\nnodes = ["engram://b"]\nevry_s = 99', "evry_s", ["did you mean every_s?"]),
    ],
)
def test_bad_challengers_are_refused_by_line(file, text, field, says):
    path = file(f"# a node\n{text}")
    with pytest.raises(BadRequest) as caught:
        load_config(path)
    assert caught.value.field == field
    for part in [*says, str(path)]:
        assert part in caught.value.message


def test_home_is_expanded(file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert load_config(file('data_dir = "~/m"')).data_dir == Path("/home/me/m")


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("port = 65536", "port", ["port = 65536", "0 to 65535"]),
        ("port = -1", "port", ["port = -1", "0 to 65535"]),
        ('port = "8090"', "port", ['port = "8090"', "0 to 65535"]),
        ("port = 8090.0", "port", ["0 to 65535"]),
        ("port = true", "port", ["port = true", "0 to 65535"]),
        ("port = {a = 1979-05-27}", "port", ["1979-05-27"]),
        ("prot = 1", "prot", ["prot is not a key", "did you mean port?"]),
        ("zzz = 1", "zzz", ["zzz is not a key", "role, host, port"]),
        ("[node]\nport = 1", "node", ["node is not a key"]),
        ('role = "king"', "role", ['role = "king"', '"miner"']),
        ('role = "validator"', "role", ["not built yet"]),
        ('host = "example.org"', "host", ['"example.org"', "0.0.0.0"]),
        ('host = "127.0.0.256"', "host", ["IP address"]),
        ('host = ""', "host", ["IP address"]),
        ('tls_cert = ""', "tls_cert", ["PEM file"]),
        ('data_dir = ""', "data_dir", ["a path"]),
        ("data_dir = 3", "data_dir", ["a path"]),
        ('log_level = "loud"', "log_level", ['"loud"', '"warning"']),
        ('log_format = "xml"', "log_format", ['"json"']),
        ("write_queue_items = 0", "write_queue_items", ["1 to 1000000"]),
        ("embedding_threads = 257", "embedding_threads", ["0 to 256"]),
        ("port = 1\nport = 2\n", "config", ["line 2: port is here again, after line 1"]),
        ("what\n", "config", ["line 1: not TOML"]),
        (b"# \xff", "config", ["line 1: not UTF-8 at byte 2"]),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_key(file, text, field, says):
    path = file(text)
    with pytest.raises(BadRequest) as caught:
        load_config(path)
    assert caught.value.field == field
    for part in [*says, str(path)]:
        assert part in caught.value.message


def test_a_bad_flag_is_refused_by_its_name():
    with pytest.raises(BadRequest, match=r"^--port = 70000 will not do"):
        load_config(None, {"port": 70000})
    with pytest.raises(BadRequest, match=r"^--data = "):
        load_config(None, {"data_dir": ""})


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(BadRequest, match=r"engram-node init"):
        load_config(tmp_path / "none.toml")


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(BadRequest, match=r"cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "tls_key"), ("tls_key", "tls_cert")])
def test_a_certificate_and_its_key_go_together(file, given, missing):
    with pytest.raises(BadRequest, match=f"{given} is set and {missing} is not") as caught:
        load_config(file(f'{given} = "/a.pem"'))
    assert caught.value.field == missing
    both = load_config(file(f'{given} = "/a.pem"'), {missing: "/b.pem"})
    assert (getattr(both, given), getattr(both, missing)) == (Path("/a.pem"), Path("/b.pem"))


def test_ports_and_addresses_at_their_bounds():
    for port in (0, 65535):
        assert load_config(None, {"port": port}).port == port
    for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost", "0.0.0.0", "::", "192.0.2.7"):
        assert load_config(None, {"host": host}).host == host
