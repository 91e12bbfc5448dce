"""Disks that fail."""

from __future__ import annotations

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
