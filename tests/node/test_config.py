"""The node's configuration: defaults, file and flags, and what errors say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engram.errors import BadRequest
from engram.node import Config, default_toml, load_config

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
    commented = default_toml().replace("# model_dir", "model_dir")
    keys = [line.split(" = ")[0] for line in commented.splitlines() if " = " in line and not line.startswith("#")]
    assert keys == list(Config.__struct_fields__)


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


def test_flags_go_over_the_file_and_the_file_over_the_defaults(file):
    path = file('port = 9000\nlog_level = "debug"\ndata_dir = "/a"')
    config = load_config(path, {"port": 9001, "data_dir": Path("/b")})
    assert (config.port, config.log_level, config.data_dir) == (9001, "debug", Path("/b"))
    assert config.host == Config().host


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
        ('host = "0.0.0.0"', "host", ['"0.0.0.0"', "127.0.0.1"]),
        ('host = "example.org"', "host", ["127.0.0.1"]),
        ('host = ""', "host", ["127.0.0.1"]),
        ('data_dir = ""', "data_dir", ["a path"]),
        ("data_dir = 3", "data_dir", ["a path"]),
        ('log_level = "loud"', "log_level", ['"loud"', '"warning"']),
        ('log_format = "xml"', "log_format", ['"json"']),
        ("write_queue_items = 0", "write_queue_items", ["1 to 1000000"]),
        ("embedding_threads = 257", "embedding_threads", ["0 to 256"]),
        ("port = 1\nport = 2\n", "config", ["not TOML", "line 2"]),
        ("what\n", "config", ["not TOML", "line 1"]),
        (b"# \xff", "config", ["not UTF-8 at byte 2"]),
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


def test_ports_and_loopback_addresses_at_their_bounds():
    for port in (0, 65535):
        assert load_config(None, {"port": port}).port == port
    for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"):
        assert load_config(None, {"host": host}).host == host
