"""What becomes of the texts of a batch, filled in as it becomes known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.embed._port import EmbeddedTexts
from engram.errors import BadRequest, EngramError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Outcomes:
    """The vectors, tokens and refusals of a batch. Texts that are not Unicode are refused at the start."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._vectors: list[bytes | None] = [None] * len(texts)
        self._tokens = [0] * len(texts)
        self._refusals: dict[int, EngramError] = {}
        for index, text in enumerate(texts):
            if refusal := not_unicode(text):
                self._refusals[index] = refusal

    @property
    def waiting(self) -> list[int]:
        """The indices of the texts of which nothing is known yet, ascending."""
        return [i for i, vector in enumerate(self._vectors) if vector is None and i not in self._refusals]

    def keep(self, index: int, vector: bytes, tokens: int) -> None:
        """Note a text's vector, and how many tokens it has."""
        self._vectors[index], self._tokens[index] = vector, tokens

    def refuse(self, index: int, error: EngramError, tokens: int = 0) -> None:
        """Note why a text has no vector."""
        self._refusals[index], self._tokens[index] = error, tokens

    def done(self) -> EmbeddedTexts:
        """Give the batch; every text has its vector or its refusal."""
        assert not self.waiting, "a text was forgotten"
        return EmbeddedTexts(tuple(self._vectors), tuple(self._tokens), self._refusals)


def not_unicode(text: str) -> EngramError | None:
    """Say what is wrong with a text that UTF-8 cannot write; None where nothing is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at index {error.start}"
        return BadRequest(f"text is not Unicode: it has the lone surrogate {found}", field="text")
    return None
