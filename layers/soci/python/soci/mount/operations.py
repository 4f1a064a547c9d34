"""What the kernel asks of a mounted image, as methods that mfusepy calls. Several threads call them at once.

A method raises OSError with the number that the asking program gets. The mount is read-only, so the kernel itself
refuses writes, and it checks permissions.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from soci.errors import SociError
from soci.image.filesystem import shown
from soci.mount.inodes import BLOCK_BYTES, MAX_NAME_BYTES, Inode, InodeTable, attributes_of
from soci.ztoc.model import FileEntry

_LOG = logging.getLogger("soci.mount")

_FOREVER = 365 * 86_400.0
"""How long the kernel may keep what it was told, in seconds."""

_ONE_FAILURE_SECONDS = 2.0
_MAX_FAILURES = 1000


class OpenFile(Protocol):
    """A file's content, for one open file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; fewer only where the file ends. Raises `SociError`."""


class Contents(Protocol):
    """Where the content of files comes from."""

    def open_file(self, layer: int, entry: FileEntry) -> OpenFile:
        """Return an entry of type reg for reading. Reads nothing yet."""


class ReadWatcher(Protocol):
    """Is told of each read that was answered."""

    def began(self) -> None:
        """Note that a program waits for a read."""

    def ended(self, path: bytes, inode: Inode, offset: int, size: int) -> None:
        """Note that the read was answered. `size` is 0 if it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handle:
    path: bytes
    inode: Inode
    file: OpenFile


class ImageOperations:
    """The operations of one mount. `on_ready` is called once, when the kernel has accepted the mount."""

    use_ns = True
    """Times are nanoseconds."""

    def __init__(
        self,
        table: InodeTable,
        contents: Contents,
        *,
        watcher: ReadWatcher | None,
        on_ready: Callable[[], None],
    ) -> None:
        self._table = table
        self._contents = contents
        self._watcher = watcher
        self._on_ready = on_ready
        self.is_ready = False
        """Whether the kernel has accepted the mount."""
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)
        self._failed = _FailureLog()

    def init_with_config(self, connection: object, config: object) -> None:
        """Set what the kernel may keep: all of it, since an image never changes."""
        _set(connection, max_background=64, congestion_threshold=48)
        _set(config, use_ino=1, kernel_cache=1, nullpath_ok=1)
        _set(config, entry_timeout=_FOREVER, attr_timeout=_FOREVER, negative_timeout=_FOREVER)
        self.is_ready = True
        self._on_ready()

    def getattr(self, path: str | None, handle: int | None = None) -> Mapping[str, int]:
        """Return what `stat` shows."""
        if path is None:
            return attributes_of(self._handles[handle or 0].inode)
        return attributes_of(self._find(path))

    def readlink(self, path: str) -> str:
        """Return where a symbolic link leads."""
        entry = self._find(path).entry
        return _text(entry.link_name) if entry else ""

    def opendir(self, path: str) -> int:
        """Return the handle of a directory."""
        return self._find(path).number

    def readdir(self, _path: str | None, handle: int) -> Iterator[tuple[str, Mapping[str, int], int]]:
        """Yield names, each with its inode's number and type."""
        inode = self._table.inodes[handle - 1]
        yield ".", _entry_of(inode), 0
        yield "..", _entry_of(inode.parent or inode), 0
        for name, child in (inode.children or {}).items():
            yield _text(name), _entry_of(child), 0

    def open(self, path: str, flags: int) -> int:
        """Return the handle of a file."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "read-only")
        inode = self._find(path)
        if inode.entry is None or inode.type != "reg":
            raise OSError(errno.EINVAL, "no regular file")
        number = next(self._numbers)
        file = self._contents.open_file(inode.layer, inode.entry)
        self._handles[number] = _Handle(path=_bytes(path), inode=inode, file=file)
        return number

    def read(self, _path: str | None, size: int, offset: int, handle: int) -> bytes:
        """Return bytes of a file. What fails is said in the log, and a later read tries again."""
        opened = self._handles[handle]
        watcher = self._watcher
        if watcher is None:
            return self._read(opened, offset, size)
        watcher.began()
        data = b""
        try:
            data = self._read(opened, offset, size)
        finally:
            watcher.ended(opened.path, opened.inode, offset, len(data))
        return data

    def _read(self, opened: _Handle, offset: int, size: int) -> bytes:
        try:
            return opened.file.read(offset, size)
        except SociError as error:
            self._failed.note(opened.path, offset, size, error)
            raise OSError(errno.EIO, "unreadable") from error

    def release(self, _path: str | None, handle: int) -> int:
        """Forget a handle."""
        self._handles.pop(handle, None)
        return 0

    def getxattr(self, path: str, name: str) -> bytes:
        """Return an extended attribute."""
        value = self._find(path).xattrs.get(_bytes(name))
        if value is None:
            raise OSError(errno.ENODATA, "no such attribute")
        return value

    def listxattr(self, path: str) -> list[str]:
        """Return the names of the extended attributes."""
        return [_text(name) for name in self._find(path).xattrs]

    def statfs(self, _path: str) -> Mapping[str, int]:
        """Return what `df` shows: a full disk of the image's size."""
        return {
            "f_bsize": BLOCK_BYTES,
            "f_frsize": BLOCK_BYTES,
            "f_blocks": -(-self._table.size_bytes // BLOCK_BYTES),
            "f_files": len(self._table.inodes),
            "f_namemax": MAX_NAME_BYTES,
        }

    def _find(self, path: str) -> Inode:
        inode = self._table.find(_bytes(path))
        if inode is None:
            raise OSError(errno.ENOENT, "no such file")
        return inode


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


def _set(structure: Any, **values: float) -> None:  # noqa: ANN401 - a structure of ctypes
    for name, value in values.items():
        setattr(structure, name, value)


def _entry_of(inode: Inode) -> Mapping[str, int]:
    return {"st_ino": inode.number, "st_mode": inode.type_bits}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
