"""The door's description, OpenAPI 3.1: paths from `ROUTES` and the endpoints, schemas and words from the Structs."""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from engram import errors
from engram.gateway._http_v1 import ENDPOINTS
from engram.gateway.http import _examples as examples
from engram.gateway.http._embeddings import Embeddings, EmbeddingsResult, OpenAiError
from engram.gateway.http._ready import Ready
from engram.native._core import __version__
from engram.wire import METHODS, ROUTES, Events, HttpError, NamespaceCreate, Put

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engram.wire import Request, Route

_SCHEMAS = "#/components/schemas/{name}"
_CREATES = (Put, NamespaceCreate)
_JSON = "application/json"

Node = dict[str, Any]

_WORDS = """\
Verifiable memory for AI agents: memories are named by their content, found by meaning, and kept in a log.

An unsigned request from this machine speaks with the node's key. A vector is an array of numbers, or base64 of
little-endian float32; answers give base64, and leave out what equals its default. What stands in a path is
percent-encoded, so that a key may hold slashes. Send the highest `position` you have seen plus one as `min_position`,
and a read waits until it sees your writes."""

_TAGS = {
    "Memories": "Keep memories, get them, find them.",
    "Keys": "Names that stand for one memory at a time, and what they have stood for.",
    "Namespaces": "Rooms of one's own.",
    "Events": "What happened, from any position on.",
    "Proofs": "What the node holds, shown to who holds nothing.",
    "Node": "How the node is.",
    "OpenAI": "What OpenAI's clients ask for.",
    "First Engram": "The API of the first Engram, as its clients speak it.",
}


def description() -> Node:
    """Give the whole description."""
    schemas, components = _schemas()
    paths: Node = {}
    for request, route in ROUTES.items():
        paths.setdefault(route.path, {})[route.verb.lower()] = _rest(request, route, schemas, components)
    paths["/v1/embeddings"] = {"post": _embeddings(schemas)}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.verb.lower()] = _first_engram(endpoint.verb, endpoint.path)
    paths |= _node(schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Engram", "version": __version__, "summary": "Memory for AI agents.", "description": _WORDS},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": components, "responses": _errors(schemas)},
    }


# -- schemas ----------------------------------------------------------------------------------------------------------


def _schemas() -> tuple[dict[type, Node], Node]:
    """Give how each Struct is referred to, and the components, with the words that stand under the fields."""
    kinds: list[type[msgspec.Struct]] = [HttpError, Embeddings, EmbeddingsResult, OpenAiError, Ready]
    for request in ROUTES:
        kinds += [request, METHODS[request.method][1]]
    references, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    for module in {kind.__module__ for kind in kinds}:
        for name, fields in _field_words(module).items():
            for field, words in fields.items():
                if name in components and field in components[name].get("properties", {}):
                    components[name]["properties"][field]["description"] = words
    for component in components.values():
        if "description" in component:
            component["description"] = _plain(component["description"])
    return dict(zip(kinds, references, strict=True)), components


def _field_words(module: str) -> dict[str, dict[str, str]]:
    """Give the strings under the fields of a module's classes."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        node.name: dict(_words_under_fields(node.body)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }


def _words_under_fields(body: list[ast.stmt]) -> Iterable[tuple[str, str]]:
    for field, words in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(words, ast.Expr):
            yield field.target.id, _plain(ast.literal_eval(words.value))


def _plain(words: str) -> str:
    """Say a docstring as HTTP has it: paragraphs in one line each, and JSON's null."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(words).split("\n\n")).replace(
        "nil ", "null "
    )


# -- operations -------------------------------------------------------------------------------------------------------


def _rest(request: type[Request[Any]], route: Route, schemas: dict[type, Node], components: Node) -> Node:
    name = schemas[request]["$ref"].rpartition("/")[2]
    properties: Node = components[name]["properties"]
    required = components[name]["required"]
    asked = [_parameter(field, properties[field], "path", required=True) for field in route.in_path]
    others = [field for field in properties if field not in route.in_path]
    operation = _operation(request.method, _tag(route.path), components[name]["description"])
    answer = _content(schemas[METHODS[request.method][1]], examples.ANSWERS.get(request))
    responses: Node = {"200": {"description": "Done.", "content": answer}}
    if route.has_body:
        schema = schemas[request] if not route.in_path else _without(components[name], route.in_path)
        operation["requestBody"] = {"required": True, "content": _content(schema, examples.BODIES.get(request))}
    else:
        asked += [_parameter(field, properties[field], "query", required=field in required) for field in others]
    if request in _CREATES:
        responses["201"] = {"description": "Done, and something is there now that was not.", "content": answer}
    if request is Events:
        responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
        operation["description"] += (
            "\n\nWith `Accept: text/event-stream` the answer is a stream that goes on: each event's `id` is the `since`"
            " to go on with, which a browser sends back as `Last-Event-ID`."
        )
    return operation | {"parameters": asked, "responses": responses | _refusals()}


def _without(schema: Node, fields: tuple[str, ...]) -> Node:
    """Give a body's schema: that of the request, less what stands in the path."""
    kept = {name: value for name, value in schema["properties"].items() if name not in fields}
    return {
        "type": "object",
        "properties": kept,
        "required": [name for name in schema["required"] if name not in fields],
        "additionalProperties": False,
    }


def _parameter(name: str, schema: Node, place: str, *, required: bool) -> Node:
    found: Node = {"name": name, "in": place, "required": required, "schema": _in_text(name, schema)}
    if (words := examples.PARAMETERS.get(name) or schema.get("description")) is not None:
        found["description"] = words
    if name == "types":
        found |= {"style": "form", "explode": False}
    return found


def _in_text(name: str, schema: Node) -> Node:
    """Give a field's schema as a URL has it: there is no null, and a filter is text."""
    if name == "filter":
        return {"type": "string"}
    own = {name: schema[name] for name in ("type", "minimum", "maximum", "enum") if name in schema}
    kinds: list[Node] = [kind for kind in schema.get("anyOf", [own]) if kind.get("type") != "null"]
    default = {"default": schema["default"]} if schema.get("default") is not None else {}
    return kinds[0] | default


def _embeddings(schemas: dict[type, Node]) -> Node:
    return _operation("embeddings", "OpenAI", _plain(Embeddings.__doc__ or "")) | {
        "requestBody": {"required": True, "content": _content(schemas[Embeddings], examples.EMBEDDINGS)},
        "responses": {
            "200": {"description": "The vectors.", "content": _content(schemas[EmbeddingsResult])},
            "default": {"description": "An error, as OpenAI's.", "content": _content(schemas[OpenAiError])},
        },
    }


def _first_engram(verb: str, path: str) -> Node:
    words, body, example = examples.FIRST_ENGRAM.get((verb, path), ("Not built yet.", None, None))
    operation = _operation(f"{verb.lower()}_{path.strip('/').partition('/')[0]}", "First Engram", words)
    parameters = [
        _parameter(part[1:-1], {"type": "string"}, "path", required=True)
        for part in path.split("/")
        if part.startswith("{")
    ]
    if body is not None:
        schema = msgspec.json.schema(body, ref_template=_SCHEMAS)
        [inlined] = schema["$defs"].values()
        operation["requestBody"] = {"required": True, "content": _content(inlined, example)}
    elif verb == "POST":
        operation["requestBody"] = {"content": {_JSON: {"schema": {"type": "object"}}}}
    responses = {"200": {"description": "Done.", "content": {_JSON: {"schema": {"type": "object"}}}}}
    return operation | {"parameters": parameters, "responses": responses | _refusals(501)}


def _node(schemas: dict[type, Node]) -> Node:
    ready = _operation("ready", "Node", "Say whether the embedding model is loaded: until then 503, `model_not_ready`.")
    metrics = _operation("metrics", "Node", "Give the node's counters in Prometheus's text format.")
    text = {"200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    done = {"200": {"description": "It is.", "content": _content(schemas[Ready])}}
    return {
        "/ready": {"get": ready | {"responses": done | _refusals()}},
        "/metrics": {"get": metrics | {"responses": text | _refusals()}},
    }


def _operation(name: str, tag: str, words: str) -> Node:
    return {
        "operationId": name,
        "tags": [tag],
        "summary": words.split("\n", maxsplit=1)[0].partition(". ")[0].removesuffix("."),
        "description": words,
    }


def _tag(path: str) -> str:
    part = path.split("/")[2]
    named = {"status": "Node", "actors": "Node", "proof": "Proofs", "commitment": "Proofs", "challenges": "Proofs"}
    return named.get(part) or (part.title() if part.title() in _TAGS else "Memories")


def _content(schema: Node, example: Any = None) -> Node:
    return {_JSON: {"schema": schema} | ({} if example is None else {"example": example})}


# -- errors -----------------------------------------------------------------------------------------------------------

_STATUSES = {
    405: "unknown_method: the path takes other verbs, which `Allow` names.",
    408: "deadline: the request did not come in time.",
    415: "bad_request: a body is `application/json`.",
}


def _errors(schemas: dict[type, Node]) -> Node:
    """Give a response a status: every code that has it, with what its class says."""
    words: dict[int, list[str]] = {status: [text] for status, text in _STATUSES.items()}
    kinds: list[type[errors.EngramError]] = [*errors.WIRE_ERRORS.values(), errors.NotBuilt]
    for kind in kinds:
        words.setdefault(kind.http_status, []).append(f"`{kind.code}`: {_plain(kind.__doc__ or '')}")
    return {
        str(status): {
            "description": "\n\n".join(texts),
            "content": _content(schemas[HttpError], examples.ERRORS.get(status)),
        }
        for status, texts in sorted(words.items())
    }


def _refusals(*more: int) -> Node:
    statuses = {kind.http_status for kind in errors.WIRE_ERRORS.values()} | set(_STATUSES) | set(more)
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
