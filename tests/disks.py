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
