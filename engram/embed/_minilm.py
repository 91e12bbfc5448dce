"""all-MiniLM-L6-v2 by the native core: the canonical embedder."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from engram.embed._model import FINGERPRINT, TOKENIZER, WEIGHTS, check_digest, verify_model
from engram.embed._outcomes import Outcomes, not_unicode, was_stopped
from engram.embed._selftest import self_test
from engram.embed._split import CHUNK_PIECES, PIECE_BYTES, Split, split
from engram.errors import TooLarge, Unprocessable
from engram.limits import LIMITS
from engram.native import _core
from engram.record import CANONICAL_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.embed._model import ModelFiles
    from engram.embed._port import EmbeddedTexts

_SPECIAL_TOKENS = LIMITS.text_tokens - CHUNK_PIECES  # [CLS] and [SEP]


class MiniLmEmbedder:
    """The native all-MiniLM-L6-v2: 384 floats of norm 1 a text, the same bytes in any batch, thread and CPU.

    A text of more than 254 word pieces (256 tokens with the two special ones) is refused with `TooLarge`, a text with a
    lone surrogate with `BadRequest`, both in the field `text`. An empty text gives the vector of no words.
    """

    model_version = CANONICAL_MODEL
    fingerprint = FINGERPRINT
    dim: int = _core.MINILM_DIM
    whole_bytes = CHUNK_PIECES

    def __init__(self, native: _core.MiniLm) -> None:
        self._native = native

    @property
    def kernel(self) -> str:
        """Name the kernel in use: `avx512`, `avx2`, `neon` or `scalar`."""
        return self._native.kernel

    def embed(self, texts: Sequence[str], stop: _core.Stop | None = None) -> EmbeddedTexts:
        """Embed each text; see the class for what is refused. About 5 ms a short text on one core.

        Once another thread sets `stop`, the call ends after at most 256 more tokens, or one text, with `Unavailable`.
        """
        outcomes = Outcomes(texts)
        waiting = outcomes.waiting
        try:
            embedded = self._native.embed([texts[index] for index in waiting], stop)
        except _core.Stopped as error:
            raise was_stopped() from error
        for index, vector, tokens in zip(waiting, *embedded, strict=True):
            if vector is None:
                outcomes.refuse(index, _too_long(tokens), tokens)
            else:
                outcomes.keep(index, vector, tokens)
        return outcomes.done()

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, [CLS] and [SEP] included; raises `BadRequest` for a lone surrogate."""
        if refusal := not_unicode(text):
            raise refusal
        return self._native.count_tokens(text)

    def split(self, text: str) -> Split:
        """Cut `text` into chunks that can each be embedded; raises `BadRequest` for a lone surrogate.

        About a second a megabyte, for which the native tokeniser needs up to half a gigabyte of memory.
        """
        if refusal := not_unicode(text):
            raise refusal
        pieces = self._native.token_spans(text)
        spans = split(text, pieces, lambda chunk: self._native.count_tokens(chunk) - _SPECIAL_TOKENS)
        return Split(len(pieces) // PIECE_BYTES + _SPECIAL_TOKENS, spans)

    def close(self) -> None:
        """Do nothing: all of it is in memory."""


def load_embedder(files: ModelFiles, *, kernel: str | None = None) -> MiniLmEmbedder:
    """Verify, load and self-test the model, in about a third of a second and with 95 MB of memory.

    Both files are hashed whole each time, the weights beside their loading: 0.06 s where the CPU has SHA instructions,
    0.2 s elsewhere, which is little enough that no stamp of an earlier verification need be trusted. `kernel` (else the
    environment's `ENGRAM_KERNEL`) forces one of `avx512`, `avx2`, `neon`, `scalar`; one that is unknown or lacking here
    raises `Unprocessable`. A file that is missing or not the pinned one, or a failed self-test, raises `ModelNotReady`.
    """
    try:
        tokenizer = files.tokenizer.read_bytes()
        native = _core.MiniLm(str(files.weights), tokenizer, kernel or os.environ.get("ENGRAM_KERNEL") or None)
    except ValueError as error:
        raise Unprocessable(f"ENGRAM_KERNEL: {error}", field="ENGRAM_KERNEL") from error
    except (OSError, RuntimeError):
        verify_model(files)  # what is wrong with the files is said best by their hashes
        raise
    check_digest(files, TOKENIZER, hashlib.sha256(tokenizer).hexdigest())
    check_digest(files, WEIGHTS, native.weights_sha256)
    embedder = MiniLmEmbedder(native)
    self_test(embedder)
    return embedder


def _too_long(tokens: int) -> TooLarge:
    pieces = tokens - _SPECIAL_TOKENS
    return TooLarge(f"text has {pieces} word pieces and the model takes at most {CHUNK_PIECES}: split it", field="text")
