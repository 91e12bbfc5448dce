"""The bytes of a file that is kept in memory: they grow, and what was mapped of them before sees later writes.

An anonymous map takes no memory for what nobody has written. It grows by taking a larger one; the smaller ones are
written along for as long as somebody holds a view of them.
"""

from __future__ import annotations

import mmap
import weakref

_LEAST = mmap.PAGESIZE


class Buffer:
    """Bytes in memory, for one thread at a time; the views that it gives may be read by any."""

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self.size = 0
        self._now = _anonymous(len(data))
        self._before: list[weakref.ref[mmap.mmap]] = []
        if data:
            self.write(0, data)

    def read(self, offset: int, size: int) -> bytes:
        """Give up to `size` bytes from `offset`."""
        return self._now[offset : max(offset, min(offset + size, self.size))]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write, growing if need be; between the end and `offset` are zeros."""
        end = offset + len(data)
        self._reserve(end)
        for buffer in self._all():
            if offset < len(buffer):
                buffer[offset : min(end, len(buffer))] = bytes(data[: len(buffer) - offset])
        self.size = max(self.size, end)

    def truncate(self, size: int) -> None:
        """Set the size; what is cut off reads as zeros where it grows again."""
        self._reserve(size)
        for buffer in self._all():
            end = min(self.size, len(buffer))
            if size < end:
                buffer[size:end] = bytes(end - size)
        self.size = size

    def view(self) -> memoryview:
        """Give a read-only view of all there is now, which sees later writes within that size."""
        return memoryview(self._now)[: self.size].toreadonly()

    def _reserve(self, size: int) -> None:
        if size <= len(self._now):
            return
        grown = _anonymous(max(size, 2 * len(self._now)))
        grown[: self.size] = memoryview(self._now)[: self.size]
        self._before = [weakref.ref(self._now), *(kept for kept in self._before if kept() is not None)]
        self._now = grown

    def _all(self) -> list[mmap.mmap]:
        before = [buffer for kept in self._before if (buffer := kept()) is not None]
        return [self._now, *before]


def _anonymous(size: int) -> mmap.mmap:
    return mmap.mmap(-1, max(size, _LEAST), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
