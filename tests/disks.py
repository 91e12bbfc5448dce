"""Disks that fail."""

from __future__ import annotations

import errno
import os

from engram.runtime import RealDisk


class FullDisk(RealDisk):
    """A real disk whose files take no more writes once it is `full`."""

    full = False

    def open(self, path, **options):
        file = super().open(path, **options)
        write = file.write

        def limited(offset, data):
            if self.full:
                raise OSError(28, "No space left on device")
            write(offset, data)

        file.write = limited
        return file


class FaultyDisk(RealDisk):
    """A real disk of which one call fails, the `at`-th that changes something; it tells what was `called`.

    A failing write writes half of its blocks first. `forever`: every later call of the same kind fails too.
    """

    def __init__(self, at=None, error=errno.EIO, *, forever=False):
        self.at = at
        self.error = error
        self.forever = forever
        self.called: list[str] = []
        self.failed: str | None = None

    def _fails(self, call, path):
        self.called.append(f"{call} {path.parent.name}/{path.name}")
        now = self.at == len(self.called) - 1
        if now:
            self.failed = self.called[-1]
        return now or (self.forever and self.failed is not None and self.failed.split()[0] == call)

    def _raise(self):
        raise OSError(self.error, os.strerror(self.error))

    def _may(self, call, path):
        if self._fails(call, path):
            self._raise()

    def open(self, path, **options):
        if options.get("create", False) and not path.exists():
            self._may("create", path)
        file = super().open(path, **options)
        write, datasync, sync, truncate = file.write, file.datasync, file.sync, file.truncate

        def writes(offset, data):
            if self._fails("write", path):
                half = (offset + len(data) // 2) // 512 * 512
                write(offset, memoryview(data)[: max(0, half - offset)])
                self._raise()
            write(offset, data)

        file.write = writes
        file.truncate = lambda size: (self._may("truncate", path), truncate(size))
        file.datasync = lambda: (self._may("datasync", path), datasync())
        file.sync = lambda: (self._may("sync", path), sync())
        return file

    def make_folder(self, path):
        if not path.is_dir():
            self._may("make_folder", path)
        super().make_folder(path)

    def rename(self, source, target):
        self._may("rename", target)
        super().rename(source, target)

    def remove(self, path):
        self._may("remove", path)
        super().remove(path)

    def sync_folder(self, path):
        self._may("sync_folder", path)
        super().sync_folder(path)


class WatchedDisk(RealDisk):
    """A real disk that knows what a power cut would lose now: `unsynced` files, and names `unsettled` in folders."""

    def __init__(self):
        self.unsynced: set[str] = set()
        self.unsettled: set[str] = set()
        self.broken: list[str] = []
        self.order: list[str] = []
        """The folders written to, in order."""

    def open(self, path, **options):
        new = options.get("create", False) and not path.exists()
        file = super().open(path, **options)
        write, datasync, sync, truncate = file.write, file.datasync, file.sync, file.truncate
        name = f"{path.parent.name}/{path.name}"
        if new:
            self.unsettled.add(name)

        def writes(offset, data):
            if path.parent.name == "events" and any(bytes(data)):
                self.broken += [f"{body} was not durable before its event" for body in self.lost("bodies")]
            self.unsynced.add(self.now(path))
            self.order.append(path.parent.name)
            write(offset, data)

        def syncs(call):
            call()
            self.unsynced.discard(self.now(path))

        file.write = writes
        file.truncate = lambda size: (self.unsynced.add(self.now(path)), truncate(size))
        file.datasync = lambda: syncs(datasync)
        file.sync = lambda: syncs(sync)
        self.renamed: dict[str, str] = getattr(self, "renamed", {})
        return file

    def now(self, path) -> str:
        """Where a file that was opened as `path` is by now."""
        name = f"{path.parent.name}/{path.name}"
        return self.renamed.get(name, name)

    def rename(self, source, target):
        old, new = (f"{path.parent.name}/{path.name}" for path in (source, target))
        if old in self.unsynced:
            self.broken.append(f"{old} was renamed before its bytes were durable")
        super().rename(source, target)
        self.renamed[old] = new
        self.unsettled.discard(old)
        self.unsettled.add(new)

    def sync_folder(self, path):
        super().sync_folder(path)
        self.unsettled = {name for name in self.unsettled if not name.startswith(path.name + "/")}

    def lost(self, *folders: str) -> list[str]:
        """What a power cut would lose of these folders."""
        return sorted(name for name in self.unsynced | self.unsettled if name.split("/")[0] in folders)
