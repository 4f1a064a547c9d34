"""Reading ahead in a file that is read in order.

    read so far  |####################|
    read ahead   |                    |........................|   as much as was read in order, up to 32 MiB

A start reads many files in part: libraries are mapped and touched here and there. So nothing is read ahead before a
MiB was read in order, and then not more than was read before. The kernel reads ahead itself, in requests of 128 KiB
that may overtake each other.
"""

from __future__ import annotations

import threading

FIRST_AHEAD_BYTES = 1 << 20
"""So much must have been read in order before anything is read ahead."""

MAX_AHEAD_BYTES = 32 << 20
"""Content that is fetched before it is asked for: eight spans of the usual size, some 12 MB of a layer."""

_DISORDER_BYTES = 1 << 20
"""Requests that begin so near the expected position are in order."""


class ReadOrder:
    """Finds out whether a file is read in order. Shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = 0
        self._next = 0
        self._ahead_to = 0

    def note(self, start: int, end: int, *, size_bytes: int) -> tuple[int, int] | None:
        """Take note of a read. Returns what to read ahead, if anything: bytes [from, to) of the file."""
        with self._lock:
            if abs(start - self._next) > _DISORDER_BYTES:
                self._start = self._next = start
                self._ahead_to = 0
            self._next = max(self._next, end)
            window = min(self._next - self._start, MAX_AHEAD_BYTES)
            if window < FIRST_AHEAD_BYTES or self._ahead_to >= min(self._next + window // 2, size_bytes):
                return None
            first, self._ahead_to = max(self._next, self._ahead_to), min(self._next + window, size_bytes)
            return (first, self._ahead_to) if first < self._ahead_to else None
