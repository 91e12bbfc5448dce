"""The order in which actors start: whoever is asked stands before the one who asks. A circle is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence


def start_order(asks: Mapping[str, Sequence[str]], running: Container[str]) -> list[str]:
    """Order the names of `asks` so that each comes after those it asks, and otherwise as they are given.

    `running`: names of actors that stand already. Raises `Unprocessable` for a circle, which the message shows, and for
    an actor that is neither there nor to come.
    """
    order: list[str] = []

    def visit(name: str, askers: list[str]) -> None:
        if name in askers:
            circle = " -> ".join([*askers[askers.index(name) :], name])
            raise Unprocessable(f"asks: these actors would wait for one another: {circle}", field="asks")
        if name in order or name in running:
            return
        if name not in asks:
            raise Unprocessable(f"asks: {askers[-1]} asks {name}, and there is no such actor", field="asks")
        for asked in asks[name]:
            visit(asked, [*askers, name])
        order.append(name)

    for name in asks:
        visit(name, [])
    return order
