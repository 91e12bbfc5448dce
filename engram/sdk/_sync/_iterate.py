# Made by scripts/generate_sync.py from engram/sdk/_async/_iterate.py: change that one.
"""Iterators over what comes in pages. They hold nothing open: one may be left in the middle, and gone on with later."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from engram.errors import Unavailable
from engram.sdk._sync._aside import aside
from engram.wire import EventInfo, Events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Self

    from engram.wire import EventsResult

T = TypeVar("T")

_POLL_S = 20.0
"""How long one call for events waits for the next."""
_EVENTS = 500


class _Buffered(ABC, Generic[T]):
    def __init__(self) -> None:
        self._ready: deque[T] = deque()
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while not self._ready:
            if self._ended:
                raise StopIteration
            self._more()
        return self._ready.popleft()

    @abstractmethod
    def _more(self) -> None:
        """Fetch what comes next, or find that nothing does."""


class Pages(_Buffered[T]):
    """What pages hold, one after the other. `fetch` gives a page for its `after`, and the next page's, if any."""

    def __init__(self, fetch: Callable[[str | None], tuple[Sequence[T], str | None]]) -> None:
        super().__init__()
        self._fetch = fetch
        self._after: str | None = None

    def _more(self) -> None:
        page, self._after = self._fetch(self._after)
        self._ready.extend(page)
        self._ended = self._after is None


class EventStream(_Buffered[EventInfo]):
    """The events of a log, in order. `position`: the `since` to go on with, after the last one that was given."""

    def __init__(
        self,
        call: Callable[[Events], EventsResult],
        again: Callable[[Events], EventsResult],
        request: Events,
        *,
        follow: bool,
    ) -> None:
        super().__init__()
        self._call = call
        self._again = again
        self._request = request
        self._follow = follow
        self._next = request.since
        self._size = 0
        self._last: int | None = None

    @property
    def position(self) -> int:
        """The `since` with which another iterator gives what this one has not given yet."""
        return self._ready[0].position if self._ready else self._next

    def _more(self) -> None:
        asked = self._request
        request = Events(
            since=self._next,
            limit=_EVENTS,
            wait_s=_POLL_S if self._follow else 0.0,
            types=asked.types,
            namespace=asked.namespace,
        )
        found = self._again(request) if self._size else self._call(request)
        if found.position < self._size:
            raise Unavailable(
                f"the log has {found.position} events, and had {self._size}: this is another node, or one restored from"
                f" an older backup; what came from position {self._next} on is not there",
                field="since",
            )
        self._size = found.position
        self._last = self._size if self._last is None else self._last
        self._ready.extend(found.events)
        self._next = found.next
        if not self._follow:
            self._ended = found.next >= self._last or found.next <= request.since


def each(items: Iterable[T]) -> Generator[T]:
    """Give the items one by one."""
    yield from items


def each_aside(items: Iterable[T]) -> Generator[T]:
    """Give the items one by one, each made where it may block: they are read from a file."""
    rest = iter(items)
    while (found := aside(next, rest, None)) is not None:
        yield found
