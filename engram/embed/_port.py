"""The port that every embedding backend implements, and what it gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from engram.embed._model import ModelFiles
    from engram.embed._split import Split
    from engram.errors import EngramError
    from engram.native._core import Stop


class EmbeddedTexts(msgspec.Struct, frozen=True):
    """What became of each text of a batch, in order; one refused text leaves the others alone.

    `vectors`: little-endian float32 of the embedder's dimension, or None where `refusals` has the error.
    `tokens`: tokens of each text, the model's special ones included; 0 where there is no text to count, or where only a
    server could.
    """

    vectors: tuple[bytes | None, ...]
    tokens: tuple[int, ...]
    refusals: dict[int, EngramError] = {}

    def vector(self, index: int) -> bytes:
        """Return the vector of text `index`, or raise the error with which that text was refused."""
        vector = self.vectors[index]
        if vector is None:
            raise self.refusals[index]
        return vector


class Embedder(Protocol):
    """Turns texts into vectors. Synchronous, and safe to call from several threads at once."""

    @property
    def model_version(self) -> str:
        """Name what decides the vectors' bits; vectors of different versions are never compared."""
        ...

    @property
    def fingerprint(self) -> str:
        """Give the hex SHA-256 over what decides the vectors' bits; `model_version` is its short name."""
        ...

    @property
    def dim(self) -> int:
        """Return the number of floats of a vector."""
        ...

    @property
    def kernel(self) -> str:
        """Name the implementation chosen for this CPU; it decides the speed and not the bits."""
        ...

    @property
    def whole_bytes(self) -> int:
        """Give the bytes of UTF-8 up to which `split` leaves any text whole."""
        ...

    def embed(self, texts: Sequence[str], stop: Stop | None = None) -> EmbeddedTexts:
        """Embed each text; a text that cannot be embedded is refused alone, in the result.

        Once `stop` is set, from any thread, the call ends soon: it raises `Unavailable`, and no text is embedded.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, the model's special ones included; raises `BadRequest` if it is not Unicode."""
        ...

    def split(self, text: str) -> Split:
        """Cut `text` into parts that can each be embedded: one, the whole, where it fits. `BadRequest` as above."""
        ...

    def close(self) -> None:
        """Let go of what it holds outside of memory; nothing is embedded afterwards. Twice is allowed."""
        ...


class ModelSource(Protocol):
    """Where a node's own model comes from. Synchronous; a call may take as long as a download."""

    def find(self, folder: Path | None) -> ModelFiles | None:
        """Return the model's files if they are on this machine, those in `folder` if it is given."""
        ...

    def fetch(self, progress: Callable[[str, int, int], None]) -> ModelFiles:
        """Fetch the files; `progress` hears the source's name, the bytes so far and in all. Raises `ModelNotReady`."""
        ...

    def load(self, files: ModelFiles) -> Embedder:
        """Load the model. Raises `ModelNotReady`."""
        ...
