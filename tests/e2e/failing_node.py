"""`engram-node` on a disk that fails when it is told to: once `<data>.fails` is there, "<call> <folder> <errno>"."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from engram.cli.node import main
from engram.node import _node
from engram.runtime import RealDisk

DATA = Path(sys.argv[sys.argv.index("--data") + 1])
TOLD = DATA.with_name(f"{DATA.name}.fails")


class FailingDisk(RealDisk):
    """A disk whose calls fail in one folder, from one moment on."""

    def open(self, path, **options):
        """Open a file whose writes and syncs may fail."""
        file = super().open(path, **options)
        for name in ("write", "sync", "datasync"):
            setattr(file, name, _failing(name, path, getattr(file, name)))
        return file


def _failing(name, path, call):
    def called(*arguments):
        told = TOLD.read_text().split() if TOLD.exists() else ["", "", "0"]
        allocates = name == "write" and not any(arguments[1][:64])
        if told[:2] in ([name, path.parent.name], ["allocate" if allocates else "", path.parent.name]):
            raise OSError(int(told[2]), os.strerror(int(told[2])))
        call(*arguments)

    return called


_real_world = _node.real_world
_node.real_world = lambda: msgspec.structs.replace(_real_world(), disk=FailingDisk())
main()
