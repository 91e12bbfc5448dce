"""What every message is made of: the bases of requests and answers, and the types that fields share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import UnsetType

from engram.limits import LIMITS

PROTOCOL = 1
"""The `hello` protocol number that this build speaks."""

Vector = bytes | Annotated[list[float], msgspec.Meta(max_length=LIMITS.dim)]
"""An embedding on the wire: bytes of little-endian float32, or numbers. The length is checked before any is decoded."""

Metadata = dict[str, Any]
FilterSpec = str | dict[str, Any]
OnLong = Literal["chunk", "reject"]
"""What becomes of a text that is too long for one record: it is kept in chunks, or refused."""

Expect = str | None | UnsetType
"""What a key must name for a write to happen: a CID, None for nothing, UNSET for whatever it is."""

Result = TypeVar("Result", bound=msgspec.Struct)
Index = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Request(
    msgspec.Struct, Generic[Result], frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Base of every request; `Result` is the Struct of its answer."""

    method: ClassVar[str]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every answer. Clients ignore fields that they do not know."""

    def __getitem__(self, name: str) -> Any:
        """Give a field by name, so that `hit["cid"]` works as `hit.cid` does."""
        if name in self.__struct_fields__:
            return getattr(self, name)
        raise KeyError(name)


class ErrorInfo(Answer, frozen=True, kw_only=True):
    """An error as it travels: `formats.md` §6."""

    code: str
    message: str
    field: str | None = None
    retry_after_s: float | None = None
    current: str | None = None
    """Of a `conflict` over a key: the CID that the key names now; absent where it names none."""
