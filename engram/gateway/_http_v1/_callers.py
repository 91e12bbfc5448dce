"""Who asks: the key that a body proves, or what an unsigned request may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from engram.errors import Forbidden, Unauthenticated
from engram.gateway._http_v1._signatures import Replays, owner_of, signer_of
from engram.identity import ANONYMOUS, OPERATOR, Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram.ports import Clock

Unsigned = Literal["loopback", "everyone", "nobody"]
"""Whose requests are served without a signature. From this machine they speak with the node's key; others read."""


class Callers:
    """Tells who sends a request."""

    def __init__(self, clock: Clock, unsigned: Unsigned = "loopback") -> None:
        self._clock = clock
        self._unsigned = unsigned
        self._replays = Replays(self._now_ms())

    def of(self, body: Mapping[str, Any], endpoint: str, *, local: bool) -> Caller:
        """Give who sent `body` to `endpoint`. `local`: it came from this machine, and through no proxy.

        Raises `Unauthenticated` for a signature that does not hold or is missing, `Forbidden` for a namespace that
        somebody else than the signer claims.
        """
        now_ms = self._now_ms()
        signer = signer_of(body, endpoint, now_ms, self._replays)
        owner = owner_of(body, now_ms)
        if signer is None:
            caller = self.unsigned(local=local)
            if owner is None:
                return caller
            if not local:
                raise Unauthenticated(
                    "signature: a namespace's covers no request, and whoever has seen it could send another; sign the "
                    "request too: send hotkey, nonce and signature",
                    field="signature",
                )
            return Caller(owner)
        if owner is not None and owner != signer:
            raise Forbidden(
                "namespace_hotkey: another key than hotkey; who claims a namespace signs the request with the same key",
                field="namespace_hotkey",
            )
        return Caller(signer)

    def unsigned(self, *, local: bool) -> Caller:
        """Give who an unsigned request is of. `Unauthenticated` where it needs a signature."""
        if self._unsigned == "nobody" or not (local or self._unsigned == "everyone"):
            raise Unauthenticated(
                "signature: this node wants requests signed: send hotkey, nonce and signature", field="signature"
            )
        return reader(local=local)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def reader(*, local: bool) -> Caller:
    """Give who reads what has no place for a signature: the operator on this machine, anybody elsewhere."""
    return OPERATOR if local else ANONYMOUS
