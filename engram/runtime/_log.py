"""The log of a part of Engram: events for structlog, once the program has set structlog up."""

from __future__ import annotations

from typing import Any

import structlog


class Log:
    """Says snake_case facts with keyword fields, never users' text.

    A library prints nothing on its own: until `structlog.configure` was called in this process, whose default is
    standard output, where an embedding program's own answers go, everything said here is dropped.
    """

    def __init__(self, **facts: Any) -> None:
        """`facts`: what is said with every event."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(**facts)

    def debug(self, event: str, **facts: Any) -> None:
        """Say what only a developer looks for."""
        if structlog.is_configured():
            self._log.debug(event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """Say what an operator may want to know."""
        if structlog.is_configured():
            self._log.info(event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Say what an operator should look at."""
        if structlog.is_configured():
            self._log.warning(event, **facts)

    def error(self, event: str, **facts: Any) -> None:
        """Say what went wrong."""
        if structlog.is_configured():
            self._log.error(event, **facts)
