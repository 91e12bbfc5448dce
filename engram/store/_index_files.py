"""The folder `index/`: sealed segments and the MANIFEST that names them, a cache that the bodies can always fill anew.

Theory of operation. A segment's file is named by its digest and never written to again: temp, sync, rename, folder
sync. The MANIFEST says which segments each namespace has, and of which log they are: its root at a position. It is
renewed behind the segments that it names, in the same way, and what it names no more is removed behind it. So a crash
costs no segment that it names. Opening drops what does not fit: all of it where the log has another root there, or the
MANIFEST is damaged; one segment where that is missing or damaged. Which rows live is not said here: the tables know.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import threading
from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.events import read_whole
from engram.native._core import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from engram.native._core import Built
    from engram.ports import Disk, File

MANIFEST = "MANIFEST"
_FORMAT = 1
_OURS = (".seg", ".new")
_CHECKSUM = 32


class Manifest(msgspec.Struct, frozen=True):
    """What the file says: the digests of each namespace's segments, and the log's size and root when it was written."""

    format: int
    position: int
    root: bytes
    segments: dict[bytes, list[bytes]]


class IndexFiles:
    """The folder. `open` comes first; `write` and `record` belong to one thread, `close` may come from another."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk = disk
        self._folder = folder
        self._lock = threading.Lock()
        self._closed = False
        self._recorded: dict[bytes, list[bytes]] = {}
        self.segments: dict[bytes, Segment] = {}
        """Those that are there, by digest."""

    def open(self, root_at: Callable[[int], bytes | None]) -> tuple[dict[bytes, list[bytes]], list[str]]:
        """Map what the MANIFEST names and remove every other of ours; give each namespace's segments, by digest.

        Also say what was dropped, and why. `root_at` gives the log's root at a size; None where it has none there. No
        disk that refuses any of this keeps the memory from opening.
        """
        manifest, dropped = self._manifest(root_at)
        for digest in sorted({digest for digests in manifest.segments.values() for digest in digests}):
            try:
                self.segments[digest] = self._mapped(digest)
            except (OSError, ValueError) as error:
                dropped.append(f"{segment_file(digest)}: {getattr(error, 'strerror', None) or error}")
        try:
            if self._strays(self.segments):
                self._disk.sync_folder(self._folder)  # or a crash might undo the MANIFEST's name alone
            self._remove_all_but(self.segments)
        except OSError as error:  # what is too much there is in nobody's way
            dropped.append(f"{self._folder.name}/: {error.strerror or error}")
        self._recorded = manifest.segments
        return {
            ns: [digest for digest in digests if digest in self.segments] for ns, digests in manifest.segments.items()
        }, dropped

    def write(self, built: Built) -> bytes:
        """Keep a segment durably and map it; give its digest. Raises `OSError`, and leaves nothing that counts."""
        with self._writing():
            self._disk.make_folder(self._folder)
            self._replace(segment_file(built.digest), memoryview(built))
            self._disk.sync_folder(self._folder)
            try:
                self.segments[built.digest] = self._mapped(built.digest)
            except ValueError as error:
                raise OSError(errno.EIO, f"{segment_file(built.digest)} is not what was written: {error}") from error
        return built.digest

    def record(self, position: int, root: bytes, segments: dict[bytes, list[bytes]]) -> None:
        """Have the MANIFEST name each namespace's segments, if it does not, and remove those that it names no more.

        `position` and `root` are of the log that they were made from, as far as they reach. Raises `OSError`.
        """
        if segments == self._recorded:
            return
        data = msgspec.msgpack.encode(Manifest(_FORMAT, position, root, segments))
        with self._writing():
            self._disk.make_folder(self._folder)
            self._replace(MANIFEST, hashlib.sha256(data).digest() + data)
            self._disk.sync_folder(self._folder)
            self._recorded = segments
            named = {digest for digests in segments.values() for digest in digests}
            self.segments = {digest: segment for digest, segment in self.segments.items() if digest in named}
            self._remove_all_but(named)

    def close(self) -> None:
        """Let what is being written come to its end, and write nothing more: the folder is another's from now on."""
        with self._lock:
            self._closed = True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the data folder was closed")
            yield

    def _manifest(self, root_at: Callable[[int], bytes | None]) -> tuple[Manifest, list[str]]:
        nothing = Manifest(_FORMAT, 0, b"", {})
        path = self._folder / MANIFEST
        if not self._disk.exists(path):
            return nothing, []
        try:
            manifest = decoded(read_whole(self._disk, path))
        except (OSError, ValueError) as error:
            return nothing, [f"{MANIFEST}: {getattr(error, 'strerror', None) or error}"]
        if root_at(manifest.position) != manifest.root:
            return nothing, [f"{MANIFEST}: the log had another root at position {manifest.position}"]
        return manifest, []

    def _mapped(self, digest: bytes) -> Segment:
        file = self._disk.open(self._folder / segment_file(digest), writable=False)
        try:
            segment = Segment(file.map())
        finally:
            file.close()
        if segment.digest != digest:
            raise ValueError("it is another segment")
        return segment

    def _replace(self, name: str, data: bytes | memoryview) -> None:
        fresh = self._folder / f".{name}.new"
        try:
            file = self._disk.open(fresh, create=True)
            try:
                _fill(file, data)
            finally:
                file.close()
            self._disk.rename(fresh, self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):  # the disk has failed already; what is left is removed at the next start
                self._disk.remove(fresh)
            raise

    def _remove_all_but(self, digests: Iterable[bytes]) -> None:
        for name in self._strays(digests):
            self._disk.remove(self._folder / name)

    def _strays(self, digests: Iterable[bytes]) -> list[str]:
        kept = set(map(segment_file, digests))
        return [name for name in self._disk.list(self._folder) if name.endswith(_OURS) and name not in kept]


def segment_file(digest: bytes) -> str:
    return f"{digest.hex()}.seg"


def _fill(file: File, data: bytes | memoryview) -> None:
    file.truncate(0)
    file.write(0, data)
    file.sync()


def decoded(data: bytes) -> Manifest:
    """Read a MANIFEST; `ValueError` says why it is none."""
    if hashlib.sha256(data[_CHECKSUM:]).digest() != data[:_CHECKSUM]:
        raise ValueError("its checksum does not hold")
    try:
        manifest = msgspec.msgpack.decode(data[_CHECKSUM:], type=Manifest)
    except UNDECODABLE as error:
        raise ValueError(f"it is none of this build's: {error}") from error
    if manifest.format != _FORMAT:
        raise ValueError(f"it has format {manifest.format}, and this build reads format {_FORMAT}")
    return manifest
