"""Any model of sentence-transformers, from a local folder: one thread, on the CPU, never the hub.

Its vectors are those of the library's `encode`, of norm 1. Their bits change with the version of torch and with the
CPU, so CIDs of such a namespace are not reproducible; the vectors compare all the same, which is what the fingerprint
over the model's files says.
"""

from __future__ import annotations

import sys
import threading
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from engram.decoding import UNDECODABLE
from engram.embed._identity import file_hashes, fingerprint_of, folder_name, version_of
from engram.embed._outcomes import Outcomes, not_unicode, was_stopped
from engram.embed._split import OVERLAP_PIECES, Span, Split, split
from engram.errors import ModelNotReady, TooLarge, Unprocessable
from engram.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from engram.embed._port import EmbeddedTexts
    from engram.embed._specs import SentenceTransformersSpec
    from engram.native._core import Stop

_BATCH_TEXTS = 8
_DATA = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt")
_NO_LIMIT = 1 << 30
_NO_WORD = 1 << 31
"""Where the numbers of tokens begin that are of no word: each is one of its own."""


class SentenceTransformersEmbedder:
    """A model of sentence-transformers. A text of more tokens than it reads is refused with `TooLarge`, never cut."""

    whole_bytes = 0

    def __init__(self, model: Any, kernel: str, dim: int, version: tuple[str, str]) -> None:
        """`model`: a `SentenceTransformer`; `version`: model version and fingerprint."""
        self._model = model
        self._limit = min(model.max_seq_length or _NO_LIMIT, model.tokenizer.model_max_length or _NO_LIMIT)
        self._prompt = model.prompts.get(model.default_prompt_name) or ""
        # The library's tokeniser is set anew for each call, which two threads must not do at once.
        self._lock = threading.Lock()
        self.kernel = kernel
        self.dim = dim
        self.model_version, self.fingerprint = version

    def embed(self, texts: Sequence[str], stop: Stop | None = None) -> EmbeddedTexts:
        """Embed each text, eight at a time; those on which the library fails are refused with `Unprocessable`."""
        outcomes = Outcomes(texts)
        waiting = outcomes.waiting
        for start in range(0, len(waiting), _BATCH_TEXTS):
            with self._lock:
                if stop is not None and stop.is_set:
                    raise was_stopped()
                part = waiting[start : start + _BATCH_TEXTS]
                try:
                    self._fill(texts, part, outcomes)
                except Exception as error:  # noqa: BLE001 (another's bug is these texts' error, and not the node's end)
                    failed = f"text: {self.model_version} failed on it, or on one beside it ({type(error).__name__})"
                    for index in set(part).intersection(outcomes.waiting):
                        outcomes.refuse(index, Unprocessable(failed, field="text"))
        return outcomes.done()

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, the model's special ones included; raises `BadRequest` for a lone surrogate."""
        if refusal := not_unicode(text):
            raise refusal
        with self._lock:
            return self._counts([text])[0]

    def split(self, text: str) -> Split:
        """Cut `text` into chunks that can each be embedded; raises `BadRequest` for a lone surrogate.

        A tokeniser that cannot tell where its tokens stand leaves it whole; a text too long for it is then refused.
        """
        tokens = self.count_tokens(text)
        if tokens <= self._limit or not self._model.tokenizer.is_fast:
            return Split(tokens, (Span(0, len(text)),))
        with self._lock:
            around = self._counts([""])[0]  # the special tokens, and those of the prompt
            limit = max(1, self._limit - around)
            spans = split(
                text,
                self._pieces(text),
                lambda chunk: self._counts([chunk])[0] - around,
                limit=limit,
                overlap=min(OVERLAP_PIECES, limit // 4),
            )
        return Split(tokens, spans)

    def close(self) -> None:
        """Do nothing: all of it is in memory."""

    def _fill(self, texts: Sequence[str], part: list[int], outcomes: Outcomes) -> None:
        counts = dict(zip(part, self._counts([texts[index] for index in part]), strict=True))
        for index in part:
            if counts[index] > self._limit:
                message = f"text has {counts[index]} tokens and {self.model_version} takes at most {self._limit}"
                outcomes.refuse(index, TooLarge(f"{message}: split it", field="text"), counts[index])
        fitting = [index for index in part if counts[index] <= self._limit]
        if not fitting:
            return
        rows = self._model.encode(
            [texts[index] for index in fitting],
            batch_size=_BATCH_TEXTS,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        for index, row in zip(fitting, rows, strict=True):
            outcomes.take(index, row.astype("f4", copy=False), counts[index], self.model_version)

    def _pieces(self, text: str) -> bytes:
        """Give where each token stands in the text: start, end, and the number of its word."""
        found = self._model.tokenizer(
            text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
        )
        words = found.word_ids(0)
        pieces = array("I")
        for place, (start, end) in enumerate(found["offset_mapping"]):
            pieces.extend((start, end, _NO_WORD + place if words[place] is None else words[place]))
        if sys.byteorder == "big":
            pieces.byteswap()
        return pieces.tobytes()

    def _counts(self, texts: list[str]) -> list[int]:
        prompted = [self._prompt + text for text in texts]
        found = self._model.tokenizer(prompted, truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]


def load_sentence_transformers(spec: SentenceTransformersSpec) -> SentenceTransformersEmbedder:
    """Load a model. Raises `ModelNotReady` without the packages, or for a folder that holds no model."""
    folder = spec.path
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelNotReady(f"{folder} holds no model of sentence-transformers: it has no modules.json or config.json")
    hashes = file_hashes(folder, _files(folder))
    try:
        import sentence_transformers  # noqa: PLC0415 - an extra, of gigabytes
        import torch  # noqa: PLC0415
    except ImportError as error:
        raise ModelNotReady(
            f"sentence-transformers is not installed: pip install 'engram-node[st]' ({error})"
        ) from None
    try:
        torch.set_num_threads(1)
        model = sentence_transformers.SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, trust_remote_code=False
        )
        dim = len(model.encode(["Engram"], show_progress_bar=False)[0])
    except Exception as error:
        raise ModelNotReady(
            f"{folder} cannot be loaded by sentence-transformers: {type(error).__name__}: {error}"
        ) from error
    if not 1 <= dim <= LIMITS.dim:
        raise ModelNotReady(f"{folder} gives vectors of {dim} numbers, and 1 to {LIMITS.dim} are kept")
    fingerprint = fingerprint_of({"backend": "sentence-transformers", "files": hashes, "normalisation": "l2"})
    version = (version_of("st", folder_name(folder), fingerprint), fingerprint)
    return SentenceTransformersEmbedder(model, f"torch {torch.__version__}", dim, version)


def _files(folder: Path) -> Iterator[str]:
    """Give the names of the files that decide a vector: configuration, tokeniser and weights of each module.

    Weights as a pickle count where there are no others; what is there for other libraries does not.
    """
    for place in {".", *_modules(folder)}:
        inside = folder / place
        found = {path for pattern in _DATA for path in inside.glob(pattern)}
        if not any(path.suffix == ".safetensors" for path in found):
            found |= set(inside.glob("pytorch_model*.bin"))
        yield from (path.relative_to(folder).as_posix() for path in found if path.is_file())


def _modules(folder: Path) -> list[str]:
    try:
        listed: list[dict[str, Any]] = msgspec.json.decode((folder / "modules.json").read_bytes(), type=list)
        places = [str(module.get("path") or ".") for module in listed]
    except FileNotFoundError:
        return []
    except (*UNDECODABLE, AttributeError) as error:
        raise ModelNotReady(f"{folder / 'modules.json'} cannot be read: {type(error).__name__}") from None
    if outside := [place for place in places if ".." in place or place.startswith("/")]:
        raise ModelNotReady(f"{folder / 'modules.json'} names {outside[0]!r}, which is outside of the folder")
    return places
