"""The directory of a cache: the one of `--cache`, or a private one that goes with its mount.

A private one is $XDG_CACHE_HOME/soci-index/mount-XXXXXXXX. Its mount holds a lock on it, so the next mount can tell
whether it was killed, and then removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soci.errors import InvalidOption, StorageError
from soci.mount.span_cache import SpanCache

DEFAULT_CACHE_BYTES = 10 << 30
MIN_CACHE_BYTES = 64 << 20
"""A few spans of the usual size for each thread that reads."""

_PRIVATE = "mount-"
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def open_span_cache(directory: Path | None, *, size_bytes: int = DEFAULT_CACHE_BYTES) -> Iterator[SpanCache]:
    """Open the cache in a directory, which is made if it is missing; None is a private one, removed at the end.

    Raises:
        InvalidOption: others may write to the directory, or the size is too small.
        StorageError: it cannot be made or written to.
    """
    if size_bytes < MIN_CACHE_BYTES:
        raise InvalidOption(
            f"cache size: expected at least {MIN_CACHE_BYTES >> 20} MiB, got {size_bytes} bytes"
        )
    if directory is not None:
        with _open(directory, size_bytes) as cache:
            yield cache
        return
    path, lock = _make_private()
    try:
        with _open(path, size_bytes) as cache:
            yield cache
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


@contextmanager
def _open(path: Path, size_bytes: int) -> Iterator[SpanCache]:
    with _storage_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    cache = SpanCache(path, descriptor, size_bytes=size_bytes)
    try:
        _check_owner(path, os.fstat(descriptor))
        with _storage_errors(path):
            cache.start()
        yield cache
    finally:
        cache.close()


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise InvalidOption(f"cache directory {path} belongs to user {found.st_uid}: choose one of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidOption(
            f"cache directory {path} can be written to by others, who could change what is read: chmod 700 it, or"
            " choose another"
        )


def _make_private() -> tuple[Path, int]:
    """Make a private directory and lock it; remove those of mounts that were killed."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    for parent in (home / "soci-index", Path(tempfile.gettempdir()) / f"soci-index-{os.geteuid()}"):
        with suppress(OSError, RuntimeError, InvalidOption):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(parent, parent.stat())
            for path in parent.glob(f"{_PRIVATE}*"):
                _remove_if_dead(path)
            while True:
                path = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=parent))
                lock = os.open(path, _DIRECTORY_FLAGS)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if path.exists():  # else another mount took it for a dead one before it was locked
                    return path, lock
                os.close(lock)
    raise StorageError(
        f"no place for a cache: neither {home} nor {tempfile.gettempdir()} can be written to; name one with --cache"
    )


def _remove_if_dead(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, _DIRECTORY_FLAGS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cache directory {path}: {os.strerror(error.errno or 0)}") from error
