"""The bytes of one simulated file: what is seen now, what is durable, and what lies between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engram.testing._losses import Loss

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


class Content:
    """A file's bytes. Writes are seen at once; `settle` makes them durable; `after_crash` gives what is left."""

    def __init__(self, durable: bytes | bytearray = b"") -> None:
        self._durable = bytearray(durable)
        self._views: list[bytearray] = [bytearray(durable)]
        """The buffer of what is seen, and behind it those that were mapped before it had to grow."""
        self._pending: list[tuple[int, bytes] | int] = []
        """In order: writes (offset, data), and sizes set."""
        self.size = len(durable)

    def read(self, offset: int, size: int) -> bytes:
        """Give up to `size` bytes from `offset`."""
        return bytes(memoryview(self._views[0])[offset : min(offset + size, self.size)])

    def write(self, offset: int, data: bytes) -> None:
        """Write, growing the file if need be; between its end and `offset` are zeros."""
        end = offset + len(data)
        self._reserve(end)
        for buffer in self._views:
            if offset < len(buffer):
                buffer[offset : min(end, len(buffer))] = data[: len(buffer) - offset]
        self.size = max(self.size, end)
        self._pending.append((offset, data))

    def truncate(self, size: int) -> None:
        """Set the size; what is cut off reads as zeros where the file grows again."""
        self._reserve(size)
        if size < self.size:
            for buffer in self._views:
                end = min(self.size, len(buffer))
                if size < end:
                    buffer[size:end] = bytes(end - size)
        self.size = size
        self._pending.append(size)

    def map(self) -> memoryview:
        """Give a view of the file as large as it is now, which sees later writes within that size."""
        return memoryview(self._views[0])[: self.size].toreadonly()

    def _reserve(self, size: int) -> None:
        if size <= len(self._views[0]):
            return
        grown = bytearray(max(size, 2 * len(self._views[0])))
        grown[: self.size] = memoryview(self._views[0])[: self.size]
        self._views.insert(0, grown)

    # -- what lasts ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Make all that is seen durable."""
        for change in self._pending:
            if isinstance(change, int):
                self._resize(change)
            else:
                offset, data = change
                if offset > len(self._durable):
                    self._resize(offset)
                self._durable[offset : offset + len(data)] = data
        self._pending.clear()

    def forget(self) -> None:
        """Take what is unsynced for clean without writing it: what a kernel does after a write-back that failed."""
        self._pending.clear()

    def evict(self) -> None:
        """See what is durable, where nothing waits to be written: a kernel may drop what it takes for clean."""
        if self._pending:
            return
        for buffer in self._views:
            buffer[:] = self._durable[: len(buffer)].ljust(len(buffer), b"\0")

    def flip(self, offset: int, bit: int) -> None:
        """Flip a bit, durably."""
        self._durable[offset] ^= 1 << bit
        for buffer in self._views:
            if offset < len(buffer):
                buffer[offset] ^= 1 << bit

    def after_crash(self, loss: Loss) -> Content:
        """Give the file as a crash leaves it."""
        if not self._pending:
            return Content(self._durable)
        kept = self._kept(loss)
        room = max(
            len(self._durable), *(change if isinstance(change, int) else _end(change) for change in self._pending)
        )
        image = bytearray(room)
        image[: len(self._durable)] = self._durable
        size = len(self._durable)
        for number, change in enumerate(self._pending):
            if isinstance(change, int):
                if number in kept.sizes:
                    image[change:] = bytes(room - change)
                    size = change
            else:
                if number in kept.sizes:
                    size = max(size, _end(change))
                _apply(image, change, number, kept.last_of_sector)
        return Content(image[:size])

    def _kept(self, loss: Loss) -> _Kept:
        kept = _Kept()
        size = len(self._durable)
        for number, change in enumerate(self._pending):
            if isinstance(change, int):
                size = change
                if loss.keeps():
                    kept.sizes.add(number)
                continue
            end = _end(change)
            if end > size:
                size = end
                if loss.keeps():
                    kept.sizes.add(number)
            for sector in _sectors(change):
                if loss.keeps():
                    kept.last_of_sector[sector] = number
        return kept

    def _resize(self, size: int) -> None:
        if size < len(self._durable):
            del self._durable[size:]
        else:
            self._durable.extend(bytes(size - len(self._durable)))


class _Kept:
    def __init__(self) -> None:
        self.sizes: set[int] = set()
        self.last_of_sector: dict[int, int] = {}


def _end(change: tuple[int, bytes]) -> int:
    return change[0] + len(change[1])


def _sectors(change: tuple[int, bytes]) -> range:
    return range(change[0] // SECTOR_BYTES, (_end(change) + SECTOR_BYTES - 1) // SECTOR_BYTES)


def _apply(image: bytearray, change: tuple[int, bytes], number: int, last_of_sector: dict[int, int]) -> None:
    """Write those parts of a change that are in sectors which are kept as they were after it, or later."""
    offset, data = change
    for sector in _sectors(change):
        if last_of_sector.get(sector, -1) >= number:
            start = max(offset, sector * SECTOR_BYTES)
            end = min(_end(change), (sector + 1) * SECTOR_BYTES)
            image[start:end] = data[start - offset : end - offset]
