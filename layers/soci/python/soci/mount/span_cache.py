"""The cache directory of mounts: inflated spans as files, checked before use; the least recently used go first.

    DIR/lock                      byte-range locks: one byte for each span that somebody fetches
    DIR/GROUP-NUMBER              content | SHA-256 over the name and the content
    DIR/.GROUP-NUMBER-X.partial   a file that is being written; its writer holds a lock on it

GROUP is a hash of the layer's digest and its zTOC's, so a span of another zTOC has another name. The sum shows a file
that is damaged, cut short or moved. A file is hashed when this process uses it first, and again if its inode, time or
size changed. The sum does not show who wrote a file: whoever may write to the directory decides what is read, so a
directory that others may write to is refused.

Files appear whole, by a rename. Nothing is flushed to the disk: what a crash tears is found by its sum. All locks end
with their process. So any number of mounts may use a directory at the same time, and a killed one leaves nothing that
stays.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from soci.errors import StorageError
from soci.oci.digest import Digest

MAX_SPANS = 1 << 18
"""More spans than any layer has: 1 TiB of the usual size. It bounds the memory that a zTOC can take."""

_SUM_BYTES = 32
_PIECE_BYTES = 1 << 20
_LOCK = "lock"
_PARTIAL = ".partial"
_TOUCH_SECONDS = 2.0
_SCAN_PART = 16
"""The directory is scanned after each sixteenth of its size that this process added: so much more may be there."""

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux."""

_LOG = logging.getLogger("soci.mount")


@dataclass(frozen=True, slots=True)
class SpanKey:
    """The name of a span in the cache."""

    group: str
    number: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.group}-{self.number}"

    @property
    def lock_offset(self) -> int:
        """The byte of the lock file that stands for the span. Spans of a layer have bytes side by side."""
        return (int(self.group[:10], 16) << 18) + self.number


def group_of(layer: Digest, ztoc: Digest | None) -> str:
    """Return what all spans of a layer share in their names; without a zTOC, the layer is one span."""
    return hashlib.sha256(f"{layer} {ztoc}".encode()).hexdigest()[:40]


class SpanCache:
    """The files of a directory. Shared by threads. `path` names it in messages, `directory` is its descriptor."""

    def __init__(self, path: Path, descriptor: int, *, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.directory = descriptor
        self._lock = threading.Lock()
        self._verified: dict[SpanKey, tuple[int, int, int]] = {}
        self._touched: dict[SpanKey, float] = {}
        self._pinned: dict[SpanKey, int] = {}
        self._complaints: set[tuple[str, str]] = set()
        self._used_bytes = 0
        self._added_bytes = size_bytes  # so that the first file begins with a scan

    def start(self) -> None:
        """Find out what is there, and remove what killed mounts left. Raises `OSError` if nothing can be written."""
        os.close(os.open(_LOCK, _LOCK_FLAGS, 0o600, dir_fd=self.directory))
        self.make_room(0)

    def read(self, key: SpanKey, start: int, end: int, *, size_bytes: int) -> bytes | None:
        """Return bytes [start, end) of a span of `size_bytes`; None if it is not there, or not whole."""
        with self._opened(key, size_bytes) as descriptor:
            if descriptor is None:
                return None
            data = os.pread(descriptor, end - start, start)
            return data if len(data) == end - start else None

    def has(self, key: SpanKey, *, size_bytes: int) -> bool:
        """Tell whether a span is there and whole."""
        with self._opened(key, size_bytes) as descriptor:
            return descriptor is not None

    def size_of(self, key: SpanKey) -> int | None:
        """Return the size of a whole layer's content, which only its file tells; None if it is not there."""
        with self._opened(key, None) as descriptor:
            return None if descriptor is None else os.fstat(descriptor).st_size - _SUM_BYTES

    def pieces(self, key: SpanKey) -> Iterator[bytes]:
        """Yield the content of a file in pieces; nothing if it is not there."""
        with self._opened(key, None) as descriptor:
            if descriptor is not None:
                yield from _content(descriptor, os.fstat(descriptor).st_size - _SUM_BYTES)

    @contextmanager
    def writing(self, key: SpanKey, *, size_bytes: int | None) -> Iterator[SpanWriter]:
        """Write a span: it is there when the block ends without an error. Without a size, room is made piece by piece.

        Raises:
            StorageError: no room, or the file system refuses. Nothing is left behind.
        """
        self.make_room(size_bytes or 0)
        with self._errors():
            descriptor, temporary = self._create(key)
        writer = SpanWriter(self, key, descriptor, has_room=size_bytes is not None)
        try:
            yield writer
            with self._errors():
                writer.write_sum()
                os.rename(temporary, key.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
                self._verified[key] = _identity(os.fstat(descriptor))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.directory)
            raise
        finally:
            os.close(descriptor)

    def pin(self, key: SpanKey) -> bool:
        """Keep a file until `close`: no mount removes it. False if it is not there."""
        with self._opened(key, None) as descriptor:
            if descriptor is None:
                return False
            held = os.dup(descriptor)
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with self._lock:
            self._release(key)
            self._pinned[key] = held
        return True

    def try_lock(self, key: SpanKey, count: int) -> int | None:
        """Lock some spans from `key` on against other mounts, without waiting; None if another one has them.

        Close the descriptor to unlock. Raises `OSError` where the file system has no locks.
        """
        descriptor = os.open(_LOCK, _LOCK_FLAGS, 0o600, dir_fd=self.directory)
        try:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, key.lock_offset, count, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, asked)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return descriptor

    def make_room(self, size_bytes: int) -> None:
        """Remove the least recently used files until so many more bytes fit. Raises `StorageError` if they cannot."""
        with self._lock:
            if size_bytes > self.size_bytes:
                raise StorageError(
                    f"cache {self.path}: {size_bytes} bytes do not fit into its {self.size_bytes} bytes"
                )
            self._used_bytes += size_bytes
            self._added_bytes += size_bytes
            if self._used_bytes <= self.size_bytes and self._added_bytes <= self.size_bytes // _SCAN_PART:
                return
            with self._errors():
                self._used_bytes = self._evict(self.size_bytes - size_bytes)
            self._added_bytes = 0
            if self._used_bytes > self.size_bytes - size_bytes:
                raise StorageError(
                    f"cache {self.path}: {self._used_bytes} bytes of its {self.size_bytes} are in use, and"
                    f" {size_bytes} more do not fit"
                )
            self._used_bytes += size_bytes

    def close(self) -> None:
        """Give up the pins, and the directory."""
        with self._lock:
            for key in list(self._pinned):
                self._release(key)
        os.close(self.directory)

    def _release(self, key: SpanKey) -> None:
        held = self._pinned.pop(key, None)
        if held is not None:
            os.close(held)

    @contextmanager
    def _opened(self, key: SpanKey, size_bytes: int | None) -> Iterator[int | None]:
        """Open a file and check it. Yields None if it is missing, or removes it if it is not what it should be."""
        descriptor = self._open(key)
        if descriptor is None:
            yield None
            return
        try:
            yield descriptor if self._is_whole(key, descriptor, size_bytes) else None
        finally:
            os.close(descriptor)

    def _open(self, key: SpanKey) -> int | None:
        held = self._pinned.get(key)
        try:
            if held is not None:
                with self._lock:
                    return os.dup(self._pinned[key])
            return os.open(key.name, _READ_FLAGS, dir_fd=self.directory)
        except FileNotFoundError:
            return None
        except (OSError, KeyError) as error:
            if isinstance(error, OSError):
                self.complain("cannot be read", error)
            return None

    def _is_whole(self, key: SpanKey, descriptor: int, size_bytes: int | None) -> bool:
        found = os.fstat(descriptor)
        if self._verified.get(key) != _identity(found):
            problem = _problem(key, descriptor, found, size_bytes)
            if problem:
                self._discard(key, problem)
                return False
            self._verified[key] = _identity(found)
        now = time.monotonic()
        if now - self._touched.get(key, -_TOUCH_SECONDS) >= _TOUCH_SECONDS:
            self._touched[key] = now
            with suppress(OSError):  # a directory that became read-only: files go by older times
                os.utime(descriptor, ns=(time.time_ns(), found.st_mtime_ns))
        return True

    def _discard(self, key: SpanKey, problem: str) -> None:
        """Remove a damaged file, so that it is fetched again."""
        _LOG.warning("cache %s: file %s %s, so the span is fetched again", self.path, key.name, problem)
        self._verified.pop(key, None)
        with self._lock:
            self._release(key)
        with suppress(OSError):
            try:
                os.unlink(key.name, dir_fd=self.directory)
            except IsADirectoryError:
                os.rmdir(key.name, dir_fd=self.directory)

    def _create(self, key: SpanKey) -> tuple[int, str]:
        """Create a temporary file and lock it. A mount that starts may have removed it in between."""
        while True:
            temporary = f".{key.name}-{secrets.token_hex(4)}{_PARTIAL}"
            descriptor = os.open(temporary, _NEW_FLAGS, 0o600, dir_fd=self.directory)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor, temporary
            os.close(descriptor)

    def _evict(self, room_bytes: int) -> int:
        """Remove dead temporary files, then old files until the rest fits into `room_bytes`. Returns its size."""
        files: list[tuple[int, int, str]] = []
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if entry.name == _LOCK or not stat.S_ISREG(found.st_mode):
                        continue
                    if entry.name.endswith(_PARTIAL) and self._remove_unused(entry.name):
                        continue
                    total += found.st_size
                    files.append((found.st_atime_ns, found.st_size, entry.name))
        for _, size_bytes, name in sorted(files):
            if total <= room_bytes:
                break
            if not name.endswith(_PARTIAL) and self._remove_unused(name):
                total -= size_bytes
        return total

    def _remove_unused(self, name: str) -> bool:
        """Remove a file unless a mount holds a lock on it."""
        try:
            descriptor = os.open(name, _READ_FLAGS, dir_fd=self.directory)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=self.directory)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def complain(self, what: str, error: OSError | StorageError) -> None:
        """Log a trouble of the directory, each once: it would come with every read."""
        why = str(error.strerror if isinstance(error, OSError) else error)
        if (what, why) not in self._complaints:
            self._complaints.add((what, why))
            _LOG.warning("cache %s %s: %s", self.path, what, why)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cache {self.path}: {os.strerror(error.errno or 0)}") from error


class SpanWriter:
    """A file of the cache while it is written. The cache makes and ends it."""

    def __init__(self, cache: SpanCache, key: SpanKey, descriptor: int, *, has_room: bool) -> None:
        self.size_bytes = 0
        self._has_room = has_room
        self._cache = cache
        self._descriptor = descriptor
        self._sum = hashlib.sha256(f"{key.name}\n".encode())

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. Raises `StorageError`."""
        if not self._has_room:
            self._cache.make_room(len(data))
        self._sum.update(data)
        self.size_bytes += len(data)
        self._write_all(data)

    def write_sum(self) -> None:
        """Finish the content."""
        self._write_all(self._sum.digest())

    def _write_all(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise StorageError(f"cache {self._cache.path}: {os.strerror(error.errno or 0)}") from error


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is replaced or written to. Reading it changes none of this."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def _problem(key: SpanKey, descriptor: int, found: os.stat_result, size_bytes: int | None) -> str:
    """Hash a file. Returns what is wrong with it; empty if nothing is."""
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    content_bytes = found.st_size - _SUM_BYTES
    if content_bytes < 0 or (size_bytes is not None and content_bytes != size_bytes):
        return f"has {found.st_size} bytes"
    content_hash = hashlib.sha256(f"{key.name}\n".encode())
    for piece in _content(descriptor, content_bytes):
        content_hash.update(piece)
    is_right = os.pread(descriptor, _SUM_BYTES, content_bytes) == content_hash.digest()
    return "" if is_right else "is damaged"


def _content(descriptor: int, content_bytes: int) -> Iterator[bytes]:
    for at in range(0, content_bytes, _PIECE_BYTES):
        yield os.pread(descriptor, min(_PIECE_BYTES, content_bytes - at), at)
