"""An ENV_FILE, which told a miner of the first Engram how to run: what it says here, and what it cannot say yet.

`ENV_FILE=.env.miner engram-node` reads it. A variable sets a key of the configuration, says what this node does anyway,
or is named as not applied, with the reason. One that asks for more protection than this node has is refused: a node
that starts without it would keep less than its operator was promised.

It may hold the node's own variables too, such as `ENGRAM_PORT`. Its lines are `NAME=value`, with `export` before or
not, quotes around the value or not, and comments after `#`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engram.errors import BadRequest
from engram.node._keys import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BYTES = 256 * 1024
_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:\#.*)?""")
_COMMENT = re.compile(r"(?:^|\s)#")


class NotApplied(msgspec.Struct, frozen=True):
    """A variable that changes nothing here, and why."""

    name: str
    place: str
    why: str


class EnvFile(msgspec.Struct, frozen=True):
    """What an ENV_FILE says: values of configuration keys, as text, and where each of them stands."""

    values: Mapping[str, str]
    places: Mapping[str, str]
    not_applied: tuple[NotApplied, ...]

    def title(self, key: str) -> str:
        """Give what errors call a configuration key: `.env.miner, line 3: MINER_PORT`."""
        return self.places[key]


class _Variable(msgspec.Struct, frozen=True):
    """`key`: what it sets; `becomes`: what its values are there. `fits`: values that say what the node does anyway.

    `why`: what is said of any other. `strict`: the node does not start with one.
    """

    key: str | None = None
    becomes: Mapping[str, str] = {}
    fits: tuple[str, ...] = ()
    why: str = ""
    strict: bool = False


_CHAIN = "the chain is not built yet"
_INDEX = "the node has an index of its own, in its data folder"
_MODEL = (
    "the node embeds with all-MiniLM-L6-v2, of 384 dimensions; namespaces may have other models ([models] of node.toml)"
)
_PEERS = "validators are not built yet"
_CLIENTS = "clients take it: EngramClient(url), or ENGRAM_NODE for `engram`"
_OURS = "ENGRAM_"
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_VARIABLES = {
    "MINER_PORT": _Variable(key="http_port"),
    "LOG_LEVEL": _Variable(
        key="log_level",
        becomes={
            "TRACE": "debug", "DEBUG": "debug", "INFO": "info", "SUCCESS": "info", "WARNING": "warning",
            "ERROR": "error", "CRITICAL": "error",
        },
    ),
    "REQUIRE_HOTKEY_SIG": _Variable(key="unsigned", becomes={"true": "nobody", "false": "loopback"}),
    "ENGRAM_ENV": _Variable(fits=("dev",), why="set REQUIRE_HOTKEY_SIG=true, which it implied", strict=True),
    "REQUIRE_METAGRAPH_REG": _Variable(fits=_FALSE, why=_CHAIN, strict=True),
    "ALLOWED_VALIDATOR_HOTKEYS": _Variable(why="a list of callers is not built yet", strict=True),
    "DP_EPSILON": _Variable(
        fits=("none", *_FALSE), why="noise on private vectors is not built yet; set it to none", strict=True
    ),
    "USE_LOCAL_EMBEDDER": _Variable(fits=_TRUE, why=_MODEL, strict=True),
    "LOCAL_EMBEDDING_MODEL": _Variable(
        fits=("all-minilm-l6-v2", "sentence-transformers/all-minilm-l6-v2"), why=_MODEL, strict=True
    ),
    "EMBEDDING_DIM": _Variable(fits=("384",), why=_MODEL, strict=True),
    "MINER_MAX_BODY_BYTES": _Variable(fits=("10485760",), why="a body may have 10485760 bytes, always"),
    "ARWEAVE_KEY": _Variable(why="archives are not built yet"),
    "MINER_API_URL": _Variable(why=_CLIENTS),
    "ENGRAM_NODE": _Variable(why=_CLIENTS),
    "MAX_VECTORS_PER_NODE": _Variable(why="a bound on what a node keeps is not built yet"),
    "OPENAI_API_KEY": _Variable(why=_MODEL),
} | {
    name: _Variable(why=why)
    for why, names in {
        _CHAIN: (
            "WALLET_NAME", "WALLET_HOTKEY", "NETUID", "SUBTENSOR_NETWORK", "SUBTENSOR_ENDPOINT", "EXTERNAL_IP",
            "MIN_INGEST_STAKE_TAO",
        ),
        _INDEX: (
            "VECTOR_STORE_BACKEND", "FAISS_INDEX_PATH", "FAISS_SAVE_EVERY", "QDRANT_HOST", "QDRANT_PORT",
            "QDRANT_COLLECTION",
        ),
        _PEERS: (
            "GROUND_TRUTH_PATH", "SCORING_ALPHA", "SCORING_BETA", "SCORING_GAMMA", "CHALLENGE_INTERVAL", "MINER_IP",
            "MINER_USE_HTTPS", "VALIDATOR_TLS_VERIFY",
        ),
        "limits on a caller's rate are not built yet": ("RATE_LIMIT_MAX_REQUESTS", "RATE_LIMIT_WINDOW_SECS"),
    }.items()
    for name in names
}  # fmt: skip


def env_file(environ: Mapping[str, str]) -> EnvFile:
    """Read the file that `ENV_FILE` names, if any.

    Raises `BadRequest` with the file, the line and what is allowed.
    """
    named = environ.get("ENV_FILE")
    return _read(Path(named).expanduser()) if named else EnvFile({}, {}, ())


def _read(path: Path) -> EnvFile:
    values: dict[str, str] = {}
    places: dict[str, str] = {}
    idle: list[NotApplied] = []
    first: dict[str, int] = {}
    for line, name, value in _assignments(path):
        place = f"{path}, line {line}: {name}"
        if (before := first.setdefault(name, line)) != line:
            raise BadRequest(f"{place} is here again, after line {before}; keep one of them", field="ENV_FILE")
        if not value:
            continue
        variable = _VARIABLES.get(name) or _other(name)
        if variable.key is not None:
            if variable.key in places:
                raise BadRequest(
                    f"{place} says again what {places[variable.key]} says; keep one of them", field="ENV_FILE"
                )
            values[variable.key] = _become(variable, value, place)
            places[variable.key] = place
        elif value.lower() in variable.fits:
            continue
        elif variable.strict:
            raise BadRequest(f"{place} = {shown(value)}: {variable.why}", field="ENV_FILE")
        else:
            idle.append(NotApplied(name, place, variable.why))
    return EnvFile(values, places, tuple(idle))


def _other(name: str) -> _Variable:
    """Take the node's own variables as they stand in the environment: `ENGRAM_PORT` for `port`."""
    if name.startswith(_OURS):
        return _Variable(key=name.removeprefix(_OURS).lower())
    return _Variable(why="this node knows no such variable")


def _become(variable: _Variable, value: str, place: str) -> str:
    if not variable.becomes:
        return value
    for name, meaning in variable.becomes.items():
        if value.lower() == name.lower():
            return meaning
    allowed = ", ".join(variable.becomes)
    raise BadRequest(f"{place} = {shown(value)} will not do. Allowed: {allowed}.", field="ENV_FILE")


def _assignments(path: Path) -> Iterator[tuple[int, str, str]]:
    """Give (line, name, value) of each variable."""
    for number, text in enumerate(_text_of(path).splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        found = _NAME.match(line)
        value = None if found is None else _value_of(line[found.end() :])
        if found is None or value is None:
            raise BadRequest(f'{path}, line {number}: not NAME=value, NAME="value" or # a comment', field="ENV_FILE")
        yield number, found[1], value


def _value_of(text: str) -> str | None:
    """Give the value that stands behind `=`; None where quotes do not end, or something stands behind them."""
    if not text.startswith(("'", '"')):
        return _COMMENT.split(text, maxsplit=1)[0].rstrip()
    found = _QUOTED.fullmatch(text)
    if found is None:
        return None
    return found[1] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES + 1)
    except FileNotFoundError:
        raise BadRequest(f"ENV_FILE: {path} is not there", field="ENV_FILE") from None
    except OSError as error:
        raise BadRequest(f"ENV_FILE: {path} cannot be read: {error.strerror}", field="ENV_FILE") from None
    if len(data) > _BYTES:
        raise BadRequest(f"ENV_FILE: {path} is over the limit of {_BYTES} bytes", field="ENV_FILE")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadRequest(f"{path}, line {line}: not UTF-8 at byte {error.start}", field="ENV_FILE") from None
