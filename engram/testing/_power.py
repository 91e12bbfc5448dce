"""Whether the simulated machine is up. The simulated ports of one life share it; a crash cuts it for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Crashed(BaseException):
    """The simulated machine lost its power. Raised by every port of that life; nothing in a node may catch it."""


class Power:
    """The power of one life. Once cut it stays cut: the next life has another."""

    def __init__(self) -> None:
        self.on = True
        self.owed_s = 0.0
        """Virtual time that slow calls have taken and whoever runs them has to wait for."""
        self._when_cut: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raise `Crashed` if there is none: a dead node touches nothing."""
        if not self.on:
            raise Crashed

    def when_cut(self, call: Callable[[], None]) -> None:
        """Have `call` called once, at the moment of the cut."""
        self._when_cut.append(call)

    def cut(self) -> None:
        """Cut it; the caller, if it is the node, is to raise `Crashed`."""
        if self.on:
            self.on = False
            for call in self._when_cut:
                call()

    def take_owed(self) -> float:
        """Give the virtual time owed, and forget it."""
        owed, self.owed_s = self.owed_s, 0.0
        return owed
