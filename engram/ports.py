"""The ports through which the world comes in: small protocols, no implementation.

The real ones are in `engram.runtime`, the simulated ones ship in `engram.testing`. They stand on the ground floor
because libraries below the runtime (the log) and beside it (the store) are handed them too. All are synchronous but
`Clock.sleep`, `Offload.run` and the calls of `Network`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trio.abc import HalfCloseableStream, Listener, Stream

T = TypeVar("T")


class File(Protocol):
    """An open file of the Disk port. Offsets and sizes in bytes; a failed call raises `OSError`."""

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer only at the file's end."""
        ...

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at `offset`, growing the file if need be."""
        ...

    def size(self) -> int:
        """Return the file's size."""
        ...

    def truncate(self, size: int) -> None:
        """Set the file's size."""
        ...

    def datasync(self) -> None:
        """Make the file's data, and the size needed to read it, durable. A failure is final: never retry it."""
        ...

    def sync(self) -> None:
        """Make the file's data and metadata durable. A failure is final."""
        ...

    def map(self) -> memoryview:
        """Return a read-only view of the file as large as it is now, which sees later writes within that size."""
        ...

    def lock(self) -> bool:
        """Take the exclusive advisory lock of this file without waiting; False if another holder has it."""
        ...

    def close(self) -> None:
        """Close the file; closing it twice is allowed."""
        ...


class Disk(Protocol):
    """Files and folders. Paths are absolute."""

    def open(self, path: Path, *, create: bool = False, writable: bool = True, private: bool = False) -> File:
        """Open a file for reading and writing; `create` makes it if absent, `private` with mode 0600."""
        ...

    def list(self, folder: Path) -> Sequence[str]:
        """Return the names in `folder`, sorted; empty if there is no such folder."""
        ...

    def exists(self, path: Path) -> bool:
        """Say whether `path` is there."""
        ...

    def is_folder(self, path: Path) -> bool:
        """Say whether `path` is a folder."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make `path` and its parents durably; no error if it exists."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically; durable after `sync_folder`."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; durable after `sync_folder`."""
        ...

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder; durable after `sync_folder` of the one above."""
        ...

    def sync_folder(self, path: Path) -> None:
        """Make the names in `path` durable."""
        ...


class Clock(Protocol):
    """Time. `now_ns` is the wall clock, `monotonic` only grows."""

    def now_ns(self) -> int:
        """Return unix time in nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait, cancellably."""
        ...


class Rng(Protocol):
    """Randomness fit for keys and nonces."""

    def bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        ...


class Offload(Protocol):
    """Threads for blocking calls. Each lane is a set of threads of its own, joined at the end."""

    async def run(self, lane: str, call: Callable[[], T]) -> T:
        """Run `call` on a thread of `lane` and wait for it; a cancelled wait abandons only the waiting."""
        ...

    def close(self) -> None:
        """Finish what runs, start nothing more, and join every thread."""
        ...


class Network(Protocol):
    """Streams of bytes to and from elsewhere. A failed call raises `OSError`."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Give the IP addresses that `host` names, zones left out."""
        ...

    async def listen(self, host: str, port: int) -> Sequence[tuple[tuple[str, int], Listener[HalfCloseableStream]]]:
        """Listen at every address of `host`: each (address, port) and its listener. Port 0 takes a free one."""
        ...

    async def connect(self, host: str, port: int) -> HalfCloseableStream:
        """Connect to who listens there."""
        ...

    def peer(self, stream: Stream) -> str:
        """Give the IP address at the other end of a stream that a listener gave."""
        ...


class Tables(Protocol):
    """SQLite behind a port, so that the simulation can crash it."""

    def connect(self, path: Path, *, readonly: bool = False) -> sqlite3.Connection:
        """Open the database at `path` with the project's pragmas (WAL, `synchronous=NORMAL`)."""
        ...
