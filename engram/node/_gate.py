"""Who is reading an open memory now, so that closing it waits until the last of them has left.

No lock: a list's append, remove and truth are atomic, and each side says what it does before it looks at the other. So
a reader pays a fraction of a microsecond, and a signal handler may close what the thread under it is reading.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LOOK_AGAIN_S = 0.1


class Gate:
    """Runs what reads, on its caller's thread, until it is closed; from then on it raises what `refusal` gives."""

    def __init__(self, refusal: Callable[[], Exception]) -> None:
        self._refusal = refusal
        self._inside: list[int] = []
        self._closed = False
        self._left = threading.Event()

    def run(self, read: Callable[[], T]) -> T:
        """Give what `read` gives, unless the gate is closed."""
        me = threading.get_ident()
        try:
            self._inside.append(me)
            if self._closed:
                raise self._refusal()
            return read()
        finally:
            # An interrupt is raised behind a call, never before: so none comes between the two, and nobody who has
            # left is counted as being inside.
            self._inside.remove(me)
            if self._closed:
                self._left.set()

    @property
    def holds_me(self) -> bool:
        """Whether this very thread is inside: a signal handler's, which would wait for itself."""
        return threading.get_ident() in self._inside

    def close(self) -> None:
        """Let nobody in any more, and wait until all have left."""
        self._closed = True
        while self._inside:
            self._left.clear()
            self._left.wait(_LOOK_AGAIN_S)  # an interrupt may have kept the last one from saying that it left
