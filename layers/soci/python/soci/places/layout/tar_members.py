"""Random access to the members of a plain tar file: a map from names to extents.

The file is hostile input. The standard library parses the headers, but can read only a limited number of bytes per
member. Every member must fit into the file. No name is written to disk.
"""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from soci.errors import SourceError
from soci.oci.compression import GZIP_MAGIC, ZSTD_MAGIC
from soci.places.layout.extents import Extent, storage_errors

MAX_MEMBERS = 100_000
"""An image has a few hundred members at most. A map of this many takes about 50 MB."""

MAX_HEADER_BYTES = 1024 * 1024
"""The limit for all headers of one member: tarfile reads whole pax and long-name records."""

_MAX_LINKS = 16

_COMPRESSIONS = {
    GZIP_MAGIC: ("gzip", "gunzip --keep"),
    b"BZh": ("bzip2", "bunzip2 --keep"),
    b"\xfd7zXZ\0": ("xz", "unxz --keep"),
    ZSTD_MAGIC: ("zstd", "unzstd"),
}

# Errors of tarfile for corrupt headers. The last four escape from its pax and sparse parsers.
_HEADER_ERRORS = (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError)


class TarMembers:
    """The regular files of a tar file, by name. The last of equal names counts, as when unpacking.

    Raises `SourceError` for a file that is not a plain tar, `StorageError` when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._found: dict[str, Extent | str] = {}  # a string is the target of a link
        with storage_errors(path), _HeaderFile(path) as file:
            _check_is_plain_file(path, file)
            for member in _read_members(path, file):
                name = _clean(member.name)
                if member.islnk():
                    self._found[name] = _clean(member.linkname)
                elif member.issym():
                    self._found[name] = _clean(posixpath.join(posixpath.dirname(name), member.linkname))
                elif member.isreg() and not member.issparse():
                    self._found[name] = Extent(path=path, offset=member.offset_data, size=member.size)

    def find(self, name: str) -> Extent | None:
        """Return the extent of a file, after following links; None when it does not exist."""
        found: Extent | str | None = _clean(name)
        for _ in range(_MAX_LINKS):
            if not isinstance(found, str):
                return found
            found = self._found.get(found)
        return None


class _HeaderFile(io.FileIO):
    """A file that limits the bytes per member: tarfile reads as many as a header demands."""

    budget_bytes = MAX_HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self.budget_bytes:
            raise tarfile.ReadError(f"headers of more than {MAX_HEADER_BYTES} bytes for one member")
        self.budget_bytes -= size
        return super().read(size)


def _read_members(path: Path, file: _HeaderFile) -> Iterator[tarfile.TarInfo]:
    size_bytes = os.fstat(file.fileno()).st_size
    try:
        archive = tarfile.TarFile(fileobj=file)
        for _ in range(MAX_MEMBERS):
            file.budget_bytes = MAX_HEADER_BYTES
            member = archive.next()
            if member is None:
                return
            # A negative size would make tarfile loop forever.
            if member.size < 0 or member.offset_data + member.size > size_bytes:
                raise tarfile.ReadError(f"member {member.name[:100]!r} reaches past the end of the file")
            archive.members.clear()  # type: ignore[attr-defined] # not in the stub; else it keeps all members
            yield member
    except _HEADER_ERRORS as error:
        raise SourceError(f"{path}: not a readable tar file: {error}") from error
    raise SourceError(f"{path}: more than {MAX_MEMBERS} members, too many for an image")


def _check_is_plain_file(path: Path, file: _HeaderFile) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise SourceError(f"{path}: not a regular file")
    start = os.pread(file.fileno(), 8, 0)
    for magic, (compression, command) in _COMPRESSIONS.items():
        if start.startswith(magic):
            raise SourceError(
                f"{path}: compressed with {compression}, so it has no random access; decompress it first: "
                f"{command} {path.name}"
            )


def _clean(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")
