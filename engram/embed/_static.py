"""Static models as model2vec writes them: a text's vector is the mean of the vectors of its tokens.

Our own reading of the folder: `tokenizer.json`, `model.safetensors` (`embeddings`; with a quantised vocabulary also
`mapping` and `weights`) and `config.json` (`normalize`). Sums are of float64, one row after the other, and the norm is
exact before it is rounded, so that the same tokens give the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from engram.embed._identity import file_hashes, fingerprint_of, folder_name, version_of
from engram.embed._outcomes import Outcomes, not_unicode
from engram.embed._split import Span, Split
from engram.errors import ModelNotReady, Unavailable, Unprocessable
from engram.limits import LIMITS
from engram.record import stored_vector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engram.embed._port import EmbeddedTexts
    from engram.embed._specs import StaticSpec
    from engram.native._core import Stop

_TOKENIZER, _WEIGHTS, _CONFIG = "tokenizer.json", "model.safetensors", "config.json"
_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "i1", "I64": "<i8", "I32": "<i4"}


class StaticEmbedder:
    """A static model. Any length of text; one that has no token of the model is refused with `Unprocessable`."""

    kernel = "numpy"
    whole_bytes = LIMITS.text_bytes

    def __init__(self, tokenizer: Any, unknown: int | None, rows: Any, weights: Any, version: tuple[str, str]) -> None:
        """`rows`: one a token, `weights`: one a token or None, `version`: model version and fingerprint."""
        self._tokenizer = tokenizer
        self._unknown = unknown
        self._rows = rows
        self._weights = weights
        self.model_version, self.fingerprint = version
        self.dim: int = rows.dim

    def embed(self, texts: Sequence[str], stop: Stop | None = None) -> EmbeddedTexts:
        """Embed each text."""
        outcomes = Outcomes(texts)
        for index in outcomes.waiting:
            if stop is not None and stop.is_set:
                raise Unavailable("the texts are not embedded: the call was stopped")
            tokens = self._tokens(texts[index])
            if not tokens:
                outcomes.refuse(
                    index, Unprocessable(f"text has no token that {self.model_version} knows", field="text")
                )
                continue
            try:
                outcomes.keep(index, stored_vector(self._rows.mean(tokens, self._weights)), len(tokens))
            except Unprocessable as error:
                message = f"text has no vector by {self.model_version}: {error.message.removeprefix('vector: ')}"
                outcomes.refuse(index, Unprocessable(message, field="text"), len(tokens))
        return outcomes.done()

    def count_tokens(self, text: str) -> int:
        """Count the tokens that the model knows; raises `BadRequest` for a lone surrogate."""
        if refusal := not_unicode(text):
            raise refusal
        return len(self._tokens(text))

    def split(self, text: str) -> Split:
        """Leave the text whole: there is no limit to what is read."""
        return Split(self.count_tokens(text), (Span(0, len(text)),))

    def close(self) -> None:
        """Do nothing: all of it is in memory."""

    def _tokens(self, text: str) -> list[int]:
        found = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [token for token in found if token != self._unknown]


class _Rows:
    """The model's table."""

    def __init__(self, table: Any, mapping: Any, *, normalise: bool) -> None:
        self._table = table
        self._mapping = mapping
        self._normalise = normalise
        self.dim: int = table.shape[1]

    def mean(self, tokens: list[int], weights: Any) -> list[float]:
        """Give the mean of the tokens' rows."""
        places = tokens if self._mapping is None else self._mapping[tokens]
        rows = self._table[places].astype("f8")
        if weights is not None:
            rows *= weights[tokens].astype("f8")[:, None]
        mean: list[float] = (rows.sum(axis=0) / len(tokens)).tolist()
        norm = math.sqrt(math.fsum(value * value for value in mean)) if self._normalise else 1.0
        return [value / norm for value in mean] if norm else mean


def load_static(spec: StaticSpec) -> StaticEmbedder:
    """Load a static model. Raises `ModelNotReady` for a folder that holds none, or without the packages."""
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ModelNotReady(
            f"a static model needs more packages: pip install 'engram-node[static]' ({error})"
        ) from None
    folder = spec.path
    hashes = file_hashes(folder, [_TOKENIZER, _WEIGHTS, _CONFIG])
    fingerprint = fingerprint_of({"arithmetic": "static/1", "backend": "static", "files": hashes})
    try:
        described: Any = msgspec.json.decode((folder / _TOKENIZER).read_bytes())
        normalise = bool(msgspec.json.decode((folder / _CONFIG).read_bytes(), type=dict).get("normalize", False))
        tensors = _tensors(folder / _WEIGHTS)
        # The library raises bare Exceptions for a file that is none.
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        table, mapping, weights = _checked(tensors, tokenizer.get_vocab_size())
        unknown = _unknown(described["model"], tokenizer)
    except Exception as error:
        reason = error.message if isinstance(error, ModelNotReady) else f"{type(error).__name__}"
        raise ModelNotReady(f"{folder} holds no static model that can be read: {reason}") from error
    version = (version_of("static", folder_name(folder), fingerprint), fingerprint)
    return StaticEmbedder(tokenizer, unknown, _Rows(table, mapping, normalise=normalise), weights, version)


def _tensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file: eight bytes of length, a JSON header, the tensors."""
    import numpy as np  # noqa: PLC0415 - an extra

    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8:start], type=dict[str, dict[str, Any]])
    tensors = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            if tensor["dtype"] not in _KINDS:
                raise ModelNotReady(
                    f"{path.name} has {name} as {tensor['dtype']}, which is none of {', '.join(_KINDS)}"
                )
            first, end = tensor["data_offsets"]
            found = np.frombuffer(data[start + first : start + end], _KINDS[tensor["dtype"]])
            tensors[name] = found.reshape(tensor["shape"])
    return tensors


def _checked(tensors: dict[str, Any], vocabulary: int) -> tuple[Any, Any, Any]:
    """Give the table, mapping and weights, which fit the tokeniser and each other."""
    if "embeddings" not in tensors:
        raise ModelNotReady(f"{_WEIGHTS} has no tensor embeddings")
    table, mapping, weights = tensors["embeddings"], tensors.get("mapping"), tensors.get("weights")
    if table.ndim != 2 or not 1 <= table.shape[1] <= LIMITS.dim:
        raise ModelNotReady(f"{_WEIGHTS} has embeddings of shape {table.shape}; 1 to {LIMITS.dim} columns are kept")
    for name, tensor in (
        ("embeddings" if mapping is None else "mapping", table if mapping is None else mapping),
        ("weights", weights),
    ):
        if tensor is not None and len(tensor) < vocabulary:
            raise ModelNotReady(f"{_WEIGHTS} has {len(tensor)} {name} and {_TOKENIZER} {vocabulary} tokens")
    if mapping is not None and len(mapping) and not 0 <= int(mapping.min()) <= int(mapping.max()) < len(table):
        raise ModelNotReady(f"{_WEIGHTS} has a mapping that points outside its embeddings")
    return table, mapping, weights


def _unknown(model: dict[str, Any], tokenizer: Any) -> int | None:
    """Give the id that stands for what the tokeniser does not know: it has no meaning, and is left out."""
    if model.get("type") == "Unigram":
        return model.get("unk_id")
    word = model.get("unk_token")
    return None if word is None else tokenizer.token_to_id(word)
