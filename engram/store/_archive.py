"""A data folder in one file: an uncompressed zip archive, which any unzip lists and unpacks. `docs/embedded.md`.

Its last member, `ENGRAM`, is the manifest: a line of JSON with the size and the SHA-256 of every other member. So each
byte is covered twice, by zip's CRC-32 and by a digest, and the digest of the manifest names the whole. Files go through
in blocks, whatever their size.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import struct
import zipfile
from typing import TYPE_CHECKING

import msgspec

from engram.decoding import UNDECODABLE
from engram.errors import FolderRefused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Buffer

    from engram.ports import Disk, File

MANIFEST = "ENGRAM"
FORMAT = 1
_BLOCK = 1 << 20
_MANIFEST_BYTES = 64 << 20
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._+-]+(/(?!\.)[A-Za-z0-9._+-]+){0,7}\Z")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (zipfile.BadZipFile, EOFError, struct.error, ValueError, OverflowError, NotImplementedError, RuntimeError)
"""What zipfile raises for bytes that are no archive, or are damaged."""


class Member(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file of the folder: its size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an archive says of itself. `engram`: the format."""

    engram: int
    files: dict[str, Member]


_decoder = msgspec.json.Decoder(Manifest)


def write(disk: Disk, folder: Path, names: Iterable[str], target: Path) -> str:
    """Write an archive of a folder's files to `target`, durably but for its name; give its manifest's digest.

    Only its owner may read it, since the node's key is in it. Raises `OSError`.
    """
    file = disk.open(target, create=True, private=True)
    try:
        file.truncate(0)
        with zipfile.ZipFile(_Stream(file), "w", zipfile.ZIP_STORED) as archive:
            files = {name: _add(archive, disk, folder / name, name) for name in names}
            manifest = msgspec.json.encode(Manifest(FORMAT, files))
            archive.writestr(_info(MANIFEST), manifest)
        file.sync()
    finally:
        file.close()
    return hashlib.sha256(manifest).hexdigest()


def _add(archive: zipfile.ZipFile, disk: Disk, path: Path, name: str) -> Member:
    file, at, digest = disk.open(path, writable=False), 0, hashlib.sha256()
    try:
        with archive.open(_info(name), "w", force_zip64=True) as out:
            while block := file.read(at, _BLOCK):
                out.write(block)
                digest.update(block)
                at += len(block)
    finally:
        file.close()
    return Member(at, digest.hexdigest())


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o600 << 16
    return info


class Archive:
    """An archive that is there. `FolderRefused` where it is none of ours, or not whole; what is read is checked."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._path = path
        self._disk = disk
        self._file = disk.open(path, writable=False)
        try:
            self._zip = zipfile.ZipFile(_Stream(self._file))
            self._manifest, self.digest = self._read_manifest()
            self._check_members()
        except _UNREADABLE as error:
            self._file.close()
            raise self._refused(error) from error
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def unpack(self, folder: Path) -> None:
        """Write every file into the folder, durably, proving each byte. Raises `FolderRefused`, `OSError`."""
        folders = {folder}
        for name, member in self._manifest.files.items():
            path = folder / name
            self._disk.make_folder(path.parent)
            folders.add(path.parent)
            try:
                self._unpack(name, member, path)
            except _UNREADABLE as error:
                raise self._refused(error) from error
        for each in folders:
            self._disk.sync_folder(each)

    def _unpack(self, name: str, member: Member, path: Path) -> None:
        file, at, digest = self._disk.open(path, create=True, private=name.startswith("keys/")), 0, hashlib.sha256()
        try:
            file.truncate(0)
            with self._zip.open(name) as data:
                while block := data.read(_BLOCK):
                    file.write(at, block)
                    digest.update(block)
                    at += len(block)
            if (at, digest.hexdigest()) != (member.size, member.sha256):
                raise zipfile.BadZipFile(f"{name} is not what its digest says")
            file.sync()
        finally:
            file.close()

    def _read_manifest(self) -> tuple[Manifest, str]:
        try:
            info = self._zip.getinfo(MANIFEST)
        except KeyError:
            raise zipfile.BadZipFile(f"the archive has no {MANIFEST}") from None
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > _MANIFEST_BYTES:
            raise zipfile.BadZipFile(f"{MANIFEST} is not as Engram writes it")
        data = self._zip.read(info)
        try:
            manifest = _decoder.decode(data)
        except UNDECODABLE as error:
            raise zipfile.BadZipFile(f"{MANIFEST} is not as Engram writes it: {error}") from None
        if manifest.engram > FORMAT:
            raise FolderRefused(
                f"{self._path} has format {manifest.engram}; this build reads {FORMAT}: use a newer one"
            )
        return manifest, hashlib.sha256(data).hexdigest()

    def _check_members(self) -> None:
        """Refuse what unpacking could not bound: names that lead elsewhere, compression, parts that stand twice."""
        infos = [info for info in self._zip.infolist() if info.filename != MANIFEST]
        sizes = {info.filename: info.file_size for info in infos}
        said = {name: member.size for name, member in self._manifest.files.items()}
        if sizes != said or len(infos) != len(sizes):
            raise zipfile.BadZipFile(f"its members are not those that {MANIFEST} names")
        for info in infos:
            if not _NAME.match(info.filename):
                raise zipfile.BadZipFile(f"{info.filename!r:.80} is no name of a file of ours")
            if info.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile(f"{info.filename} is compressed")
        if sum(sizes.values()) > self._file.size():
            raise zipfile.BadZipFile("its members are larger than all of it")

    def _refused(self, error: BaseException) -> FolderRefused:
        reason = str(error) or type(error).__name__
        return FolderRefused(
            f"{self._path} is not a packed memory, or is damaged: {reason}. It is left as it is; restore it from a "
            "backup, or give another path."
        )


def unpacked(disk: Disk, path: Path, folder: Path) -> Path:
    """Give the folder of a memory in a file, unpacked into `folder`; the one beside the file, while that is the truth.

    Nothing but `folder` is changed. Raises `FolderRefused`, `OSError`.
    """
    beside = path.with_name(path.name + ".d")
    if disk.exists(beside / ".whole"):
        return beside
    if not disk.exists(path):
        raise FolderRefused(f"{path} is not there, and {beside} is no memory that is open")
    with contextlib.closing(Archive(disk, path)) as archive:
        archive.unpack(folder)
    return folder


class _Stream(io.RawIOBase):
    """A file of the Disk port, as zipfile wants it."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size()}[whence]
        if start + offset < 0:
            raise ValueError("a place before the file's beginning")
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._at, max(0, self._file.size() - self._at) if size < 0 else size)
        self._at += len(data)
        return data

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        self._file.write(self._at, view)
        self._at += view.nbytes
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        self._file.truncate(self._at if size is None else size)
        return self._at
