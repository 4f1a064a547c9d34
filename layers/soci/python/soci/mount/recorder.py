"""What a mount is asked to read, as a start profile.

Times are those of the program: the clock stands still while a read waits for its bytes. So a profile does not depend
on the network that it was recorded over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from soci.mount.inodes import Inode
from soci.oci.digest import Digest
from soci.oci.platform import Platform
from soci.start.profile import (
    MAX_FILES,
    MAX_MS,
    MAX_PATH_BYTES,
    MAX_RANGES,
    FileRead,
    ReadRange,
    StartProfile,
    make_profile,
)

MAX_RANGES_OF_FILE = 1_000
"""Beyond, the gaps of a file count as read."""

_EXECUTABLE = 0o111


@dataclass(slots=True)
class _Seen:
    """What was read of a file."""

    inode: Inode
    first_ms: int
    last_ms: int
    ranges: list[ReadRange] = field(default_factory=list)
    """They do not touch each other, and are in the order of first need."""


class Recorder:
    """Notes reads. Shared by threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, seconds: float | None = None) -> None:
        self.left_off_files = 0
        """Files beyond the limit of a profile."""
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[bytes, _Seen] = {}
        self._program: bytes | None = None
        self._range_count = 0
        self._began_at: float | None = None
        self._waited = 0.0
        self._running = 0
        self._waiting_since = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the time of recording has passed since the first read."""
        began = self._began_at
        return began is not None and self._seconds is not None and self._clock() - began > self._seconds

    def began(self) -> None:
        """Note that a program waits for a read."""
        with self._lock:
            now = self._clock()
            if self._began_at is None:
                self._began_at = now
            if not self._running:
                self._waiting_since = now
            self._running += 1

    def ended(self, path: bytes, inode: Inode, offset: int, size: int) -> None:
        """Note that the read was answered. `size` is 0 if it failed or the file has ended."""
        with self._lock:
            at_ms = round((self._waiting_since - (self._began_at or 0.0) - self._waited) * 1000)
            self._running -= 1
            if not self._running:
                self._waited += self._clock() - self._waiting_since
            if size and not self.is_over and at_ms <= MAX_MS and len(path) <= MAX_PATH_BYTES:
                self._note(path, inode, offset, size, max(0, at_ms))

    def _note(self, path: bytes, inode: Inode, offset: int, size: int, at_ms: int) -> None:
        seen = self._seen.get(path)
        if seen is None:
            if len(self._seen) >= MAX_FILES:
                self.left_off_files += 1
                return
            seen = self._seen[path] = _Seen(inode, at_ms, at_ms)
            if self._program is None and inode.entry is not None and inode.entry.mode & _EXECUTABLE:
                self._program = path
        seen.last_ms = max(seen.last_ms, at_ms)
        before = len(seen.ranges)
        is_full = before >= MAX_RANGES_OF_FILE or self._range_count >= MAX_RANGES - MAX_FILES
        seen.ranges = joined(seen.ranges, ReadRange(start=offset, end=offset + size, first_ms=at_ms))
        if is_full and len(seen.ranges) > before:
            seen.ranges = _without_gaps(seen.ranges)
        self._range_count += len(seen.ranges) - before

    def profile(
        self,
        *,
        image: Digest,
        platform: Platform | None,
        layer_of: Callable[[Inode], Digest],
        spans_of: Callable[[Inode, int, int], range],
    ) -> StartProfile:
        """Return what was read so far.

        Args:
            image: the digest of the image manifest.
            platform: its platform.
            layer_of: the layer that has a file's content.
            spans_of: the spans of that layer that hold bytes [start, end) of a file.
        """
        with self._lock:
            seen = {
                path: (one.inode, one.first_ms, one.last_ms, tuple(one.ranges))
                for path, one in self._seen.items()
            }
        files = [
            FileRead(
                path=path,
                first_ms=first_ms,
                last_ms=last_ms,
                size_bytes=inode.size_bytes,
                ranges=ranges,
                layer=layer_of(inode),
                spans=tuple(sorted({span for one in ranges for span in spans_of(inode, one.start, one.end)})),
            )
            for path, (inode, first_ms, last_ms, ranges) in seen.items()
        ]
        return make_profile(files, image=image, platform=platform, program=self._program)


def joined(ranges: list[ReadRange], new: ReadRange) -> list[ReadRange]:
    """Return ranges with one more, which is joined with those that it touches. The earliest time counts."""
    touching = [one for one in ranges if one.start <= new.end and new.start <= one.end]
    if not touching:
        return [*ranges, new]
    if len(touching) == 1 and touching[0].start <= new.start and new.end <= touching[0].end:
        return ranges
    whole = _hull([*touching, new])
    first = touching[0]
    return [whole if one is first else one for one in ranges if one is first or one not in touching]


def _without_gaps(ranges: list[ReadRange]) -> list[ReadRange]:
    return [_hull(ranges)]


def _hull(ranges: list[ReadRange]) -> ReadRange:
    return ReadRange(
        start=min(one.start for one in ranges),
        end=max(one.end for one in ranges),
        first_ms=min(one.first_ms for one in ranges),
    )
