"""A Disk port that only reads, for folders whose owner is not trusted: nothing in them is changed, or waited for."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn

from engram.runtime._disk import OPEN, RealDisk, RealFile, regular

if TYPE_CHECKING:
    from pathlib import Path


class ReadOnlyDisk(RealDisk):
    """The file system, to be read. What is no regular file, a symbolic link or a pipe say, is refused with `OSError`.

    Folders may be links. Every call that would change something raises `OSError`.
    """

    def open(self, path: Path, *, create: bool = False, writable: bool = True, private: bool = False) -> RealFile:
        """Open a regular file for reading."""
        if create or writable or private:
            self._refuse(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | OPEN)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "a symbolic link, which is not followed", str(path)) from None
            raise
        return RealFile(regular(descriptor, path))

    def make_folder(self, path: Path) -> None:
        """Refuse."""
        self._refuse(path)

    def rename(self, source: Path, target: Path) -> None:  # noqa: ARG002 (the port's)
        """Refuse."""
        self._refuse(source)

    def remove(self, path: Path) -> None:
        """Refuse."""
        self._refuse(path)

    def remove_folder(self, path: Path) -> None:
        """Refuse."""
        self._refuse(path)

    def sync_folder(self, path: Path) -> None:
        """Refuse."""
        self._refuse(path)

    def _refuse(self, path: Path) -> NoReturn:
        raise OSError(errno.EROFS, "this Disk only reads", str(path))
