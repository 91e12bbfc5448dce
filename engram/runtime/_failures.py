"""What can be said of an exception: which one it is, and where it came from. Never its text, which may be a user's."""

from __future__ import annotations

import trio


def leaf(error: BaseException) -> BaseException:
    """Give the error inside a group: nurseries wrap what ended them, and their groups are nobody's business."""
    while isinstance(error, BaseExceptionGroup):
        real = (inner for inner in map(leaf, error.exceptions) if not isinstance(inner, trio.Cancelled))
        error = next(real, error.exceptions[0])
    return error


def described(error: BaseException) -> str:
    """Name the error's type and the line that raised it."""
    error = leaf(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{where}"
