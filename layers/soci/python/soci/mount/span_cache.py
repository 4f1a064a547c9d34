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
import logging
import os
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soci.errors import StorageError
from soci.mount.cache_files import (
    SUM_BYTES,
    ScratchFile,
    SpanWriter,
    cache_errors,
    content_of,
    identity_of,
    problem_of,
)
from soci.mount.eviction import LOCK_NAME, PARTIAL, READ_FLAGS, evict
from soci.mount.span_key import SpanKey

_TOUCH_SECONDS = 2.0
_SCAN_PART = 16
"""The directory is scanned after each sixteenth of its size that this process added: so much more may be there."""

_NEW_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux."""

_LOG = logging.getLogger("soci.mount")


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
        os.close(os.open(LOCK_NAME, _LOCK_FLAGS, 0o600, dir_fd=self.directory))
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
            return None if descriptor is None else os.fstat(descriptor).st_size - SUM_BYTES

    def pieces(self, key: SpanKey) -> Iterator[bytes]:
        """Yield the content of a file in pieces; nothing if it is not there."""
        with self._opened(key, None) as descriptor:
            if descriptor is not None:
                yield from content_of(descriptor, os.fstat(descriptor).st_size - SUM_BYTES)

    @contextmanager
    def writing(self, key: SpanKey, *, size_bytes: int | None) -> Iterator[SpanWriter]:
        """Write a span: it is there when the block ends without an error. Without a size, room is made piece by piece.

        Raises:
            StorageError: no room, or the file system refuses. Nothing is left behind.
        """
        self.make_room(size_bytes or 0)
        with cache_errors(self.path):
            descriptor, temporary = self._create(key)
        writer = SpanWriter(
            self.path, key.name, descriptor, make_room=self.make_room if size_bytes is None else None
        )
        try:
            yield writer
            with cache_errors(self.path):
                writer.write_sum()
                os.rename(temporary, key.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
                self._verified[key] = identity_of(os.fstat(descriptor))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.directory)
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def scratch(self, key: SpanKey, *, size_bytes: int) -> Iterator[ScratchFile]:
        """Make a file for the compressed bytes of a large span. It goes with the block. Raises `StorageError`."""
        self.make_room(size_bytes)
        with cache_errors(self.path):
            descriptor, temporary = self._create(key)
        try:
            with cache_errors(self.path):
                os.unlink(temporary, dir_fd=self.directory)
            yield ScratchFile(self.path, descriptor)
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
        descriptor = os.open(LOCK_NAME, _LOCK_FLAGS, 0o600, dir_fd=self.directory)
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
            with cache_errors(self.path):
                self._used_bytes = evict(self.directory, room_bytes=self.size_bytes - size_bytes)
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
            return os.open(key.name, READ_FLAGS, dir_fd=self.directory)
        except FileNotFoundError:
            return None
        except (OSError, KeyError) as error:
            if isinstance(error, OSError):
                self.complain("cannot be read", error)
            return None

    def _is_whole(self, key: SpanKey, descriptor: int, size_bytes: int | None) -> bool:
        found = os.fstat(descriptor)
        if self._verified.get(key) != identity_of(found):
            problem = problem_of(key.name, descriptor, found, size_bytes)
            if problem:
                self._discard(key, problem)
                return False
            self._verified[key] = identity_of(found)
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
            temporary = f".{key.name}-{secrets.token_hex(4)}{PARTIAL}"
            descriptor = os.open(temporary, _NEW_FLAGS, 0o600, dir_fd=self.directory)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor, temporary
            os.close(descriptor)

    def complain(self, what: str, error: OSError | StorageError) -> None:
        """Log a trouble of the directory, each once: it would come with every read."""
        why = str(error.strerror if isinstance(error, OSError) else error)
        if (what, why) not in self._complaints:
            self._complaints.add((what, why))
            _LOG.warning("cache %s %s: %s", self.path, what, why)
