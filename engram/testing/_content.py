"""The bytes of one simulated file: what is seen now, what is durable, and what lies between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.runtime import Buffer

if TYPE_CHECKING:
    from engram.testing._losses import Loss

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


class Content:
    """A file's bytes. Writes are seen at once; `settle` makes them durable; `after_crash` gives what is left."""

    def __init__(self, durable: bytes | bytearray = b"") -> None:
        self._durable = bytearray(durable)
        self._seen = Buffer(durable)
        self._pending: list[tuple[int, bytes] | int] = []
        """In order: writes (offset, data), and sizes set."""

    @property
    def size(self) -> int:
        """The size that is seen."""
        return self._seen.size

    def read(self, offset: int, size: int) -> bytes:
        """Give up to `size` bytes from `offset`."""
        return self._seen.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Write, growing the file if need be; between its end and `offset` are zeros."""
        self._seen.write(offset, data)
        self._pending.append((offset, data))

    def truncate(self, size: int) -> None:
        """Set the size; what is cut off reads as zeros where the file grows again."""
        self._seen.truncate(size)
        self._pending.append(size)

    def map(self) -> memoryview:
        """Give a view of the file as large as it is now, which sees later writes within that size."""
        return self._seen.view()

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
        self._seen.write(0, self._durable[: self.size].ljust(self.size, b"\0"))

    def flip(self, offset: int, bit: int) -> None:
        """Flip a bit, durably."""
        self._durable[offset] ^= 1 << bit
        if seen := self._seen.read(offset, 1):
            self._seen.write(offset, bytes([seen[0] ^ 1 << bit]))

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
