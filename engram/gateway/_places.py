"""Who may have how much of a door: what is bounded is bounded lower for strangers, who come from elsewhere.

Whoever reaches a door can take all that it gives to strangers, and keep it: a connection costs nothing. So a part of
each bound is kept for callers on this machine, and no stranger's patience locks the operator out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engram.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_S = 1.0
_KEPT = 8
"""One in so many is kept for this machine; of fewer than so many none is."""


def share(limit: int, *, near: bool) -> int:
    """Give how much of a bound a caller may fill; `near`: it is on this machine."""
    return limit if near else limit - limit // _KEPT


class Places:
    """The connections that a door has open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    @contextlib.contextmanager
    def place(self, *, near: bool) -> Iterator[Busy | None]:
        """Take a place while this lasts; give what to tell who gets none."""
        limit = share(self._limit, near=near)
        if self._taken >= limit:
            yield Busy(f"{limit} connections are open, which is the limit; close one, or wait", retry_after_s=RETRY_S)
            return
        self._taken += 1
        try:
            yield None
        finally:
            self._taken -= 1
