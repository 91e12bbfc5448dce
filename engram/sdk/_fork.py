"""How a client becomes a forked child's: once, whichever of the child's threads comes first."""

from __future__ import annotations

import os
import threading

_turn = threading.Lock()


def leaving() -> threading.Lock:
    """Give the lock under which a client leaves its parent's home. Nothing is waited for while it is held."""
    return _turn


def _renew() -> None:
    """Let go of what a thread of the parent may hold for ever."""
    global _turn  # noqa: PLW0603
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_renew)
