"""Removing files from the cache: the least recently used first, and never what a mount holds a lock on."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress

LOCK_NAME = "lock"
PARTIAL = ".partial"
"""The end of the names of files that are being written."""

READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A planted link or pipe is not followed, and not waited for."""


def evict(directory: int, *, room_bytes: int) -> int:
    """Remove dead temporary files, then old files until the rest fits into `room_bytes`. Returns its size."""
    files: list[tuple[int, int, str]] = []
    total = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if entry.name == LOCK_NAME or not stat.S_ISREG(found.st_mode):
                    continue
                if entry.name.endswith(PARTIAL) and _remove_unused(directory, entry.name):
                    continue
                total += found.st_size
                files.append((found.st_atime_ns, found.st_size, entry.name))
    for _, size_bytes, name in sorted(files):
        if total <= room_bytes:
            break
        if not name.endswith(PARTIAL) and _remove_unused(directory, name):
            total -= size_bytes
    return total


def _remove_unused(directory: int, name: str) -> bool:
    """Remove a file unless a mount holds a lock on it."""
    try:
        descriptor = os.open(name, READ_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
