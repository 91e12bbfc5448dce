"""What can be said of an exception: which one it is, and where it came from. Never its text, which may be a user's."""

from __future__ import annotations

import trio

from engram.errors import EngramError, LogCorrupt, StorageFailed

FATAL = (StorageFailed, LogCorrupt)
"""What no restart mends: the disk, and the truth on it."""


def leaf(error: BaseException) -> BaseException:
    """Give the error inside a group, the gravest one: nurseries wrap what ended them, and groups are nobody's business.

    What ends the program is graver than a failed disk, that than a bug, that than a refusal, and that than a
    cancellation; of equals it is the first.
    """
    return min(_leaves(error), key=_gravity) if isinstance(error, BaseExceptionGroup) else error


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [inner for each in error.exceptions for inner in _leaves(each)]


def _gravity(error: BaseException) -> int:
    if isinstance(error, trio.Cancelled):
        return 4
    if isinstance(error, FATAL):
        return 1
    if isinstance(error, EngramError):
        return 3
    return 2 if isinstance(error, Exception) else 0


def described(error: BaseException) -> str:
    """Name the error's type and the line that raised it."""
    error = leaf(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"
