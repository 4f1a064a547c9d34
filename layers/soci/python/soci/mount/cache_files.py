"""The files of the cache: content, and a sum over the name and the content.

`path` stands for the cache in messages.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soci.errors import StorageError

SUM_BYTES = 32
_PIECE_BYTES = 1 << 20


class SpanWriter:
    """A file of the cache while it is written. `make_room` is called before each piece, if it is given."""

    def __init__(
        self, path: Path, name: str, descriptor: int, *, make_room: Callable[[int], None] | None = None
    ) -> None:
        self._path = path
        self._make_room = make_room
        self._descriptor = descriptor
        self._sum = hashlib.sha256(f"{name}\n".encode())

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises `StorageError`."""
        if self._make_room is not None:
            self._make_room(len(data))
        self._sum.update(data)
        _write(self._path, self._descriptor, data)

    def write_sum(self) -> None:
        """Finish the content."""
        _write(self._path, self._descriptor, self._sum.digest())


class ScratchFile:
    """A file without a name."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append bytes. Raises `StorageError`."""
        _write(self._path, self._descriptor, data)

    def mapped(self) -> mmap.mmap:
        """Return the content as memory that the kernel reads and drops as it needs to. It may outlive the file."""
        return mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY)


def identity_of(found: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is replaced or written to. Reading it changes none of this."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def problem_of(name: str, descriptor: int, found: os.stat_result, size_bytes: int | None) -> str:
    """Hash a file. Returns what is wrong with it; empty if nothing is."""
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    content_bytes = found.st_size - SUM_BYTES
    if content_bytes < 0 or (size_bytes is not None and content_bytes != size_bytes):
        return f"has {found.st_size} bytes"
    content_hash = hashlib.sha256(f"{name}\n".encode())
    for piece in content_of(descriptor, content_bytes):
        content_hash.update(piece)
    is_right = os.pread(descriptor, SUM_BYTES, content_bytes) == content_hash.digest()
    return "" if is_right else "is damaged"


def content_of(descriptor: int, content_bytes: int) -> Iterator[bytes]:
    """Yield the content of a file in pieces."""
    for at in range(0, content_bytes, _PIECE_BYTES):
        yield os.pread(descriptor, min(_PIECE_BYTES, content_bytes - at), at)


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Translate an `OSError` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cache {path}: {os.strerror(error.errno or 0)}") from error


def _write(path: Path, descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    with cache_errors(path):
        while view:
            view = view[os.write(descriptor, view) :]
