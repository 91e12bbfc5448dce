"""The node's configuration: defaults, `node.toml`, the environment, the command line, each over the one before.

An `ENV_FILE` of the first Engram's (`_env_file`) comes between the file and the environment that names it.

`_KEYS` is the one description of it: what each key allows, what errors say, and what `engram-node init` teaches. The
tables have modules of their own: `_challenge_config`, `_actor_config`, `_model_config`.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engram.embed import ModelSpec  # noqa: TC001 - a field's type
from engram.errors import BadRequest
from engram.node._actor_config import TEACHING as ACTORS_TEACHING
from engram.node._actor_config import ActorSpec, actors_of
from engram.node._challenge_config import TEACHING as CHALLENGE_TEACHING
from engram.node._challenge_config import ChallengeSpec, challenge_of, challengers_of
from engram.node._env_file import env_file
from engram.node._keys import Key, a_path, in_range, unchanged, value_of
from engram.node._model_config import TEACHING, models_of
from engram.node._toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node is told at its start. Relative paths are relative to the working folder."""

    role: Literal["miner", "validator"] = "miner"
    host: str = "127.0.0.1"
    port: int = 8090
    http_port: int = 8091
    """-1: no HTTP."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    data_dir: Path = Path("engram-data")
    model_dir: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    write_queue_items: int = 16_384
    """Memories that may wait for the disk; over it, writes are answered `busy`."""
    embedding_threads: int = 0
    """0: one less than the cores, at least 1."""
    on_long: Literal["chunk", "reject"] = "chunk"
    """What becomes of a text that is too long for one record, where the caller does not say."""
    unsigned: Literal["loopback", "everyone", "nobody"] = "loopback"
    """Whose requests of the first Engram's HTTP API are served without a signature."""
    scrub_mb_s: int = 8
    """Megabytes a second at which an idle node reads what it has on disk again; 0: never."""
    challengers: tuple[str, ...] = ()
    """The keys, ss58, that may challenge this node beside its own."""
    challenge: ChallengeSpec | None = None
    """Whom this node challenges."""
    models: dict[str, ModelSpec] = {}
    """Other embedding models, by the name that namespaces are created with."""
    actors: dict[str, ActorSpec] = {}
    """Plug-ins, by their names."""


class _Layer(msgspec.Struct, frozen=True):
    """Values from one place. `title` gives what errors call a key there; `as_text`: each value is a string."""

    values: Mapping[str, object]
    title: Callable[[str], str]
    as_text: bool = False

    def checked(self) -> dict[str, Any]:
        return {name: self._value(name, value) for name, value in self.values.items()}

    def _value(self, name: str, value: object) -> Any:
        if name in _TABLES:
            return _TABLES[name](value, self.title)
        return _value(name, value, self.title(name), as_text=self.as_text)


def load_config(
    path: Path | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read the file at `path`, if any, lay the environment over it, then `flags`, and check every value.

    `environ` holds variables by their names, of which those of `variable` and `ENV_FILE` count; `flags` what the
    command line gave, by the name of the key. Raises `BadRequest` with the key in `field`; its message says where the
    value stands (the line of the file, the variable, the flag), what came and what is allowed.
    """
    values: dict[str, Any] = {}
    environ = environ or {}
    layers = [_of_file(path), _of_env_file(environ), _of_environment(environ), _Layer(flags or {}, _flag)]
    for layer in layers:
        values |= layer.checked()
    return _paired(Config(**values), layers)


def _paired(config: Config, layers: list[_Layer]) -> Config:
    for given, missing in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(config, given) and not getattr(config, missing):
            [title, *_] = [layer.title(given) for layer in reversed(layers) if given in layer.values]
            raise BadRequest(
                f"{title} is set and {missing} is not: a certificate and its key go together", field=missing
            )
    return config


def variable(name: str) -> str:
    """Give the name of the environment variable that goes over a key: `ENGRAM_PORT` for `port`."""
    return f"ENGRAM_{name.upper()}"


def variables() -> list[str]:
    """Give the variables of every key that one can set: all but the tables."""
    return [variable(name) for name in _KEYS]


def default_toml() -> str:
    """Give the text of a `node.toml` with every key at its default and a line of teaching."""
    return (
        _HEAD
        + "".join(f"\n# {key.teaching}\n# {key.allowed}\n{_line(key.name)}\n" for key in _KEYS.values())
        + CHALLENGE_TEACHING
        + ACTORS_TEACHING
        + TEACHING
    )


_HEAD = """\
# node.toml: how this Engram node runs. Written by `engram-node init`; every value here is the default.
# Over this file goes the environment: each key but the tables as ENGRAM_ and its name in capitals, such as
# ENGRAM_PORT=9000; an empty one is as good as none. Over both goes the command line: `engram-node --port 9000`.
# Check the result with `engram-node doctor`.
"""
_FLAGS = {"data_dir": "--data"}
_EXAMPLES = {"model_dir": "/srv/engram-model", "tls_cert": "/etc/engram/tls.crt", "tls_key": "/etc/engram/tls.key"}
_TABLES: dict[str, Callable[[object, Callable[[str], str]], Any]] = {
    "challenge": challenge_of,
    "models": models_of,
    "actors": actors_of,
}


def _address(value: str) -> str:
    if value != "localhost":
        ipaddress.ip_address(value)
    return value


_KEYS = {
    key.name: key
    for key in (
        Key(
            "role",
            Literal["miner", "validator"],
            'Allowed: "miner". "validator" is not built yet.',
            "What the node does: a miner keeps memories and answers for them.",
            unchanged,
        ),
        Key(
            "host",
            str,
            'Allowed: an IP address of this machine, "0.0.0.0" or "::" for all of them, "localhost".',
            "The address it listens at. On loopback calls are plain and the operator's; from elsewhere it is TLS 1.3.",
            _address,
        ),
        Key(
            "port",
            int,
            "Allowed: 0 to 65535; 0 takes any free port and says which.",
            "The port for `engram` and the SDK.",
            in_range(0, 65535),
        ),
        Key(
            "http_port",
            int,
            "Allowed: 0 to 65535; 0 takes any free port and says which. -1: no HTTP.",
            "The port for curl, browsers (/docs), Prometheus (/metrics) and the first Engram's clients.",
            in_range(-1, 65535),
        ),
        Key(
            "tls_cert",
            str,
            "Allowed: a path of a PEM file, and tls_key with it. Left out: the node makes its own, in keys/.",
            "The certificate, its chain behind it, that it shows where it is called from elsewhere; read at the start.",
            a_path,
        ),
        Key(
            "tls_key",
            str,
            "Allowed: a path of a PEM file without a passphrase, and tls_cert with it.",
            "The key of that certificate.",
            a_path,
        ),
        Key(
            "data_dir",
            str,
            "Allowed: a path on a local disk; a relative one starts at the working folder, ~ at your home.",
            "The folder that holds everything: the log, the memories, the node's key. One node a folder. Back it up.",
            a_path,
        ),
        Key(
            "model_dir",
            str,
            "Allowed: a path. Left out: your cache, filled once by the first start or by `engram model fetch`.",
            "A folder with the embedding model's files, for a machine without internet.",
            a_path,
        ),
        Key(
            "log_level",
            Literal["debug", "info", "warning", "error"],
            'Allowed: "debug", "info", "warning", "error".',
            "How much the node says about itself on standard error.",
            unchanged,
        ),
        Key(
            "log_format",
            Literal["text", "json"],
            'Allowed: "text" for people, "json" for programs.',
            "How it says it.",
            unchanged,
        ),
        Key(
            "write_queue_items",
            int,
            "Allowed: 1 to 1000000.",
            "Memories that may wait for the disk; callers over it are told `busy` and when to try again.",
            in_range(1, 1_000_000),
        ),
        Key(
            "embedding_threads",
            int,
            "Allowed: 0 to 256; 0 takes one less than there are cores.",
            "Threads that turn texts into vectors; the vectors are the same with any number.",
            in_range(0, 256),
        ),
        Key(
            "on_long",
            Literal["chunk", "reject"],
            'Allowed: "chunk", "reject". A caller may say otherwise for each text.',
            "A text of more than 254 word pieces: keep it whole and find it by its parts, or refuse it. Never cut off.",
            unchanged,
        ),
        Key(
            "unsigned",
            Literal["loopback", "everyone", "nobody"],
            'Allowed: "loopback" for this machine, which then speaks with the node\'s key, "everyone", "nobody".',
            "Whose calls of the first Engram's HTTP API need no signature; from elsewhere one without it only reads.",
            unchanged,
        ),
        Key(
            "scrub_mb_s",
            int,
            "Allowed: 0 to 10000 megabytes a second; 0: never.",
            "How fast a node that nothing is written to reads all that it has on disk again, once a day, for damage.",
            in_range(0, 10_000),
        ),
        Key(
            "challengers",
            list[str],
            'Allowed: node keys as `engram status` prints them, such as ["5F…"]; the node\'s own key always may.',
            "Whose challenges it answers. They are shown payloads of every namespace but the sealed ones.",
            challengers_of,
        ),
    )
}


def _of_file(path: Path | None) -> _Layer:
    if path is None:
        return _Layer({}, str)
    file = read_toml(path)
    return _Layer(file.values, file.title)


def _of_env_file(environ: Mapping[str, str]) -> _Layer:
    file = env_file(environ)
    return _Layer(file.values, file.title, as_text=True)


def _of_environment(environ: Mapping[str, str]) -> _Layer:
    given = {name: value for name in _KEYS if (value := environ.get(variable(name)))}
    return _Layer(given, variable, as_text=True)


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def _value(name: str, value: object, title: str, *, as_text: bool) -> Any:
    value = value_of(_KEYS, name, value, title, "a node", as_text=as_text)
    if value == "validator":
        raise BadRequest(f'{title} = "validator": validators are not built yet; this version runs "miner"', field=name)
    return value


def _line(name: str) -> str:
    default = getattr(Config(), name)
    if default is None:
        return f'# {name} = "{_EXAMPLES[name]}"'
    return f"{name} = {json.dumps(f'./{default}' if isinstance(default, Path) else default)}"
