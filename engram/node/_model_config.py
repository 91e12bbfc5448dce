"""The models of the configuration, `[models.NAME]`: checked key by key, and taught as comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engram.embed import ModelSpec, RemoteSpec, SentenceTransformersSpec, StaticSpec, parse_url
from engram.errors import BadRequest
from engram.limits import LIMITS
from engram.node._keys import Key, a_path, in_range, named_tables, shown, unchanged, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN = ("v1", "v1-draft", "sealed", "public")

TEACHING = """
# Other embedding models beside Engram's own, each under a name for `engram namespace create NS --model NAME`. A
# namespace stays with its model for ever. docs/models.md says which to take when. Key by key, for each backend:
#
# [models.mpnet]                       # any model of sentence-transformers: pip install 'engram-node[st]'
# backend = "sentence-transformers"
# path = "/models/all-mpnet-base-v2"   # its folder; nothing is fetched
#
# [models.potion]                      # a static model of model2vec: pip install 'engram-node[static]'
# backend = "static"
# path = "/models/potion-base-8M"
#
# [models.openai]                      # a server that speaks OpenAI's /embeddings. YOUR TEXTS ARE SENT TO IT.
# backend = "openai"
# url = "https://api.openai.com/v1"    # https, or http on this machine
# model = "text-embedding-3-small"     # what the server calls it
# dim = 1536                           # numbers in a vector; left out, the server is asked at each start
# api_key_env = "OPENAI_API_KEY"       # the environment variable with the key; left out, no key is sent
# timeout_s = 20                       # for one request, of up to 32 texts, 1 to 50
# insecure = false                     # true: http to another machine, where others can read along
"""


def models_of(found: object, title: Callable[[str], str]) -> dict[str, ModelSpec]:
    """Check the table of models. `title` gives what errors call a key. Raises `BadRequest`."""
    named = named_tables(found, "models", title, _A_TABLE, _TAKEN)
    return {name: _model(name, keys, title) for name, keys in named.items()}


_A_TABLE = 'Allowed: tables, such as [models.mpnet] with backend = "sentence-transformers".'


def _model(name: str, given: object, title: Callable[[str], str]) -> ModelSpec:
    at = f"models.{name}"
    if not isinstance(given, Mapping):
        raise BadRequest(f"{title(at)} = {shown(given)} will not do. {_A_TABLE}", field=at)
    backend = given.get("backend")
    if not isinstance(backend, str) or backend not in _BACKENDS:
        came = "is missing" if backend is None else f"= {shown(backend)} will not do"
        allowed = ", ".join(f'"{name}"' for name in _BACKENDS)
        raise BadRequest(f"{title(f'{at}.backend')} {came}. Allowed: {allowed}.", field="backend")
    spec, keys, needed = _BACKENDS[backend]
    values = {
        str(key): value_of(keys, str(key), value, title(f"{at}.{key}"), f"the backend {backend}")
        for key, value in given.items()
        if key != "backend"
    }
    for key in needed:
        if key not in values:
            raise BadRequest(f"{title(f'{at}.{key}')} is missing. {keys[key].allowed}", field=key)
    if spec is RemoteSpec:
        _refuse_open_wire(values, title(f"{at}.url"))
    model: ModelSpec = spec(**values)
    return model


def _refuse_open_wire(values: dict[str, Any], title: str) -> None:
    url = parse_url(values["url"])
    if url.scheme == "http" and not url.on_loopback and not values.get("insecure", False):
        raise BadRequest(
            f'{title} = "{url}" will not do: texts and key would travel to another machine where all can read along. '
            "Allowed: https; http on this machine; insecure = true if you mean it.",
            field="url",
        )


def _url(value: str) -> str:
    return str(parse_url(value))


def _model_id(value: str) -> str:
    if not value.strip() or len(value) > 256 or not value.isprintable():
        raise ValueError(value)
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError(value)
    return value


def _keys(*keys: Key) -> dict[str, Key]:
    return {key.name: key for key in keys}


_FOLDER = _keys(Key("path", str, "Allowed: the path of the model's folder.", "", a_path))
_SERVER = _keys(
    Key("url", str, "Allowed: https://…/v1 without a password, ? or #; http:// on this machine.", "", _url, True),
    Key("model", str, "Allowed: what the server calls the model.", "", _model_id),
    Key("dim", int, f"Allowed: 1 to {LIMITS.dim}.", "", in_range(1, LIMITS.dim)),
    Key(
        "api_key_env",
        str,
        "Allowed: the name of an environment variable, not the key itself.",
        "",
        _variable,
        True,
    ),
    Key("timeout_s", float, "Allowed: 1 to 50 seconds: a call has 60.", "", in_range(1, 50)),
    Key("insecure", bool, "Allowed: true, false.", "", unchanged),
)
_BACKENDS: dict[str, tuple[type[Any], dict[str, Key], tuple[str, ...]]] = {
    "sentence-transformers": (SentenceTransformersSpec, _FOLDER, ("path",)),
    "static": (StaticSpec, _FOLDER, ("path",)),
    "openai": (RemoteSpec, _SERVER, ("url", "model")),
}
