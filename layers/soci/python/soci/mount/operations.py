"""What the kernel asks of a mounted image. Several threads ask at once.

A method raises OSError with the number that the asking program gets. The mount is read-only, so the kernel itself
refuses writes, and it checks permissions. Files are not opened here: a read names the file by its path.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from soci.errors import SociError
from soci.image.filesystem import shown
from soci.mount.inodes import Inode, InodeTable
from soci.ztoc.model import FileEntry

_LOG = logging.getLogger("soci.mount")

_ONE_FAILURE_SECONDS = 2.0
_MAX_FAILURES = 1000


class OpenFile(Protocol):
    """A file's content."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; fewer only where the file ends. Raises `SociError`."""


class Contents(Protocol):
    """Where the content of files comes from."""

    def open_file(self, layer: int, entry: FileEntry) -> OpenFile:
        """Return an entry of type reg for reading. Reads nothing yet."""


class ReadWatcher(Protocol):
    """Is told of each read."""

    def began(self) -> None:
        """Note that a program waits for a read."""

    def ended(self, path: bytes, inode: Inode, offset: int, size: int) -> None:
        """Note that the read was answered. `size` is 0 if it failed."""


class ImageOperations:
    """The operations of one mount."""

    def __init__(self, table: InodeTable, contents: Contents, *, watcher: ReadWatcher | None = None) -> None:
        self.table = table
        self._contents = contents
        self._watcher = watcher
        self._files: dict[int, OpenFile] = {}
        self._failed = _FailureLog()

    def readdir(self, path: bytes) -> Iterator[tuple[bytes, Inode]]:
        """Return the names in a directory, with `.` and `..`."""
        inode = self.inode(path)
        if inode.children is None:
            raise OSError(errno.ENOTDIR, "no directory")
        yield b".", inode
        yield b"..", inode.parent or inode
        yield from inode.children.items()

    def readlink(self, path: bytes) -> bytes:
        """Return where a symbolic link leads."""
        inode = self.inode(path)
        if inode.type != "symlink" or inode.entry is None:
            raise OSError(errno.EINVAL, "no link")
        return inode.entry.link_name

    def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return bytes of a file. What fails is said in the log, and a later read tries again."""
        inode = self.inode(path)
        watcher = self._watcher
        if watcher is None:
            return self._read(path, inode, offset, size)
        watcher.began()
        data = b""
        try:
            data = self._read(path, inode, offset, size)
        finally:
            watcher.ended(path, inode, offset, len(data))
        return data

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        """Return an extended attribute."""
        value = self.inode(path).xattrs.get(name)
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return value

    def listxattr(self, path: bytes) -> Sequence[bytes]:
        """Return the names of the extended attributes."""
        return list(self.inode(path).xattrs)

    def inode(self, path: bytes) -> Inode:
        """Return the inode at a path. Raises OSError where there is none."""
        inode = self.table.find(path)
        if inode is None:
            raise OSError(errno.ENOENT, "no such file")
        return inode

    def _read(self, path: bytes, inode: Inode, offset: int, size: int) -> bytes:
        file = self._files.get(inode.number)
        if file is None:
            if inode.entry is None or inode.type != "reg":
                raise OSError(errno.EINVAL, "no regular file")
            file = self._files.setdefault(inode.number, self._contents.open_file(inode.layer, inode.entry))
        try:
            return file.read(offset, size)
        except SociError as error:
            self._failed.note(path, offset, size, error)
            raise OSError(errno.EIO, "unreadable") from error


class _FailureLog:
    """Says which read failed and why: one line for a failure, though the kernel may ask several times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[tuple[bytes, str], float] = {}

    def note(self, path: bytes, offset: int, size: int, error: SociError) -> None:
        """Log a failed read of a file."""
        key = path, str(error)
        now = time.monotonic()
        with self._lock:
            before = self._said.get(key, -_ONE_FAILURE_SECONDS)
            if now - before < _ONE_FAILURE_SECONDS:
                return
            if len(self._said) >= _MAX_FAILURES:
                self._said.clear()
            self._said[key] = now
        _LOG.warning("%s: bytes %d to %d: %s", shown(path), offset, offset + size, error)
