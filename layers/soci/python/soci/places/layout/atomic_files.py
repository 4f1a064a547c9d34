"""Atomic writes of files, and a lock on a directory."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soci.places.layout.extents import storage_errors


class PendingFile:
    """A file under a temporary name, until its final name is known."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / f".upload-{secrets.token_hex(8)}.partial"
        with storage_errors(directory):
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises `StorageError`."""
        with storage_errors(self._directory):
            _write_all(self._descriptor, data)

    def commit(self, name: str) -> None:
        """Flush the file to the disk and rename it. Raises `StorageError`."""
        with storage_errors(self._directory):
            os.fsync(self._descriptor)
            self._path.replace(self._directory / name)
        self._close()

    def abort(self) -> None:
        """Delete the file, unless it is committed."""
        if self._descriptor >= 0:
            self._close()
            with suppress(OSError):
                self._path.unlink()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def write_atomically(path: Path, chunks: Iterable[bytes | bytearray]) -> None:
    """Write a file under a temporary name in the same directory, flush it to the disk, then rename it.

    An error, also one of `chunks`, deletes the temporary file and leaves `path` as it was.
    """
    temporary = path.with_name(f".{path.name[:12]}-{secrets.token_hex(8)}.partial")
    try:
        with storage_errors(path):
            # Not tempfile: its files are readable by the owner only. A layout has the permissions of the umask.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            for chunk in chunks:
                with storage_errors(path):
                    _write_all(descriptor, chunk)
            with storage_errors(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with storage_errors(path):
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def locked_directory(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on a directory, after waiting for other processes. Yields its file descriptor.

    The lock is advisory: it excludes only processes that lock too, such as other runs of this package.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with storage_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def fsync_directory(path: Path) -> None:
    """Flush the renames in a directory to the disk."""
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes | bytearray) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
