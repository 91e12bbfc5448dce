"""`POST /v1/embeddings`, as OpenAI's clients speak it: texts in, vectors out, nothing is kept."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Annotated, Literal, cast

import msgspec

from engram.errors import Unprocessable
from engram.gateway.http._endpoint import json_response
from engram.limits import LIMITS
from engram.wire import Embed, decode_body

if TYPE_CHECKING:
    from starlette.responses import Response

    from engram.errors import EngramError
    from engram.gateway.http._endpoint import Ask
    from engram.wire import EmbedResult

NAME = "embeddings"


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turn texts into vectors, as OpenAI's clients ask for it.

    `model`: a configured model's name, or a model version such as `v1`. `input`: a text, or up to 1,000 of them; arrays
    of tokens are refused, for tokens are a model's own. `dimensions` must be the model's. `user` is ignored.
    """

    input: str | Annotated[list[str], msgspec.Meta(max_length=LIMITS.batch_items)]
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """One text's vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | bytes


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens were embedded."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResult(msgspec.Struct, frozen=True, kw_only=True):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class OpenAiProblem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as OpenAI's clients read it."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str


class OpenAiError(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's clients look for an error in."""

    error: OpenAiProblem


def openai_error(error: EngramError) -> bytes:
    """Write an error as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    problem = OpenAiProblem(message=error.message, type=kind, param=error.field, code=error.code)
    return msgspec.json.encode(OpenAiError(error=problem))


async def embeddings(ask: Ask) -> Response:
    """Answer `POST /v1/embeddings`."""
    asked = decode_body(Embeddings, NAME, ask.body, ask.door.limits)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not texts:
        raise Unprocessable("input: it is empty, and needs a text", field="input")
    done = cast("EmbedResult", await ask.call(Embed(texts=texts, model=asked.model)))
    if asked.dimensions not in (None, done.dim):
        raise Unprocessable(
            f"dimensions: {asked.dimensions}; vectors of {done.model_version} have {done.dim}, and are not cut",
            field="dimensions",
        )
    plain = asked.encoding_format == "float"
    data = [
        Embedding(index=index, embedding=list(struct.unpack(f"<{done.dim}f", vector)) if plain else vector)
        for index, vector in enumerate(done.vectors)
    ]
    tokens = sum(done.tokens)
    usage = Usage(prompt_tokens=tokens, total_tokens=tokens)
    return json_response(ask.door, EmbeddingsResult(data=data, model=asked.model, usage=usage))
