"""The reads of a start, gathered one by one from a recording: what the files of a profile are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from soci.errors import InvalidDocument, InvalidRequest
from soci.start.profile import MAX_FILES, MAX_MS, MAX_RANGES, FileRead, ReadRange, check_path
from soci.start.ranges import join_ranges, with_fewer_ranges

_NS_PER_MS = 1_000_000
_MAX_RANGES_OF_A_FILE = 4096
_KEPT_RANGES_OF_A_FILE = 1024
_MAX_OFFSET = 1 << 62


@dataclass(slots=True)
class _File:
    since_ms: int
    """The absolute time of its first read. Its ranges count from there."""
    last_ms: int
    is_whole: bool = False
    size_bytes: int | None = None
    ranges: list[ReadRange] = field(default_factory=list)

    def add(self, start: int, end: int, at_ms: int) -> None:
        first_ms = min(max(at_ms - self.since_ms, 0), MAX_MS)
        last = self.ranges[-1] if self.ranges else None
        if last is not None and last.start <= start <= last.end and last.first_ms == first_ms:
            start, end = last.start, max(end, last.end)
            self.ranges.pop()
        elif last is not None and last.start <= start and end <= last.end:
            return  # read again
        self.ranges.append(ReadRange(start=start, end=end, first_ms=first_ms))
        if len(self.ranges) > _MAX_RANGES_OF_A_FILE:
            self.ranges = list(with_fewer_ranges(join_ranges(self.ranges), _KEPT_RANGES_OF_A_FILE))

    def join(self, other: _File) -> None:
        """Add what was read of the same file under another name, or in another part of the recording."""
        earlier = self.since_ms - min(self.since_ms, other.since_ms)
        self.since_ms -= earlier
        self.ranges = [_later(one, earlier) for one in self.ranges]
        self.last_ms = max(self.last_ms, other.last_ms)
        self.is_whole = self.is_whole or other.is_whole
        self.size_bytes = other.size_bytes if self.size_bytes is None else self.size_bytes
        self.ranges += [_later(one, other.since_ms - self.since_ms) for one in other.ranges]


class GatheredReads:
    """The reads of a start by path. Memory is bounded: by the number of files, and of ranges for each."""

    def __init__(self) -> None:
        self._files: dict[bytes, _File] = {}
        self._sizes: dict[bytes, int] = {}
        self._ranges = 0

    def __len__(self) -> int:
        return len(self._files)

    def add(self, path: bytes, at_ns: int | None, start: int, end: int) -> None:
        """Note a read of bytes [start, end) of a file. A read of nothing is none.

        Without a time the order of the files' first reads counts, a millisecond each.
        """
        if 0 <= start < end <= _MAX_OFFSET:
            file, at_ms = self._file(path, at_ns)
            if not file.is_whole:
                before = len(file.ranges)
                file.add(start, end, at_ms)
                self._ranges += len(file.ranges) - before
                if self._ranges > 2 * MAX_RANGES:
                    self._reduce()

    def add_whole(self, path: bytes, at_ns: int | None) -> None:
        """Note that a file is read, and that nothing tells which part of it."""
        file, _ = self._file(path, at_ns)
        file.is_whole = True
        file.ranges = []

    def set_size(self, path: bytes, size_bytes: int) -> None:
        """Note the size of a file that is read now or later."""
        if path in self._files or len(self._sizes) < MAX_FILES:
            self._sizes[path] = size_bytes

    def files(
        self, *, limit_ms: int = MAX_MS, resolve: Callable[[bytes], bytes | None] = lambda path: path
    ) -> list[FileRead]:
        """Return the files in any order; times count from the first read of them all.

        Args:
            limit_ms: what is first read later is left out.
            resolve: the path of the file that a path leads to, or None to leave it out.
        """
        found: dict[bytes, _File] = {}
        for path, file in self._files.items():
            file.size_bytes = self._sizes.get(path)
            target = resolve(path)
            if target is None:
                continue
            if target in found:
                found[target].join(file)
            else:
                found[target] = file
        since_ms = min((file.since_ms for file in found.values()), default=0)
        kept = {path: file for path, file in found.items() if file.since_ms - since_ms <= limit_ms}
        most = max(1, min(_KEPT_RANGES_OF_A_FILE, MAX_RANGES // max(1, len(kept))))
        return [_file_read(path, file, since_ms, limit_ms, most) for path, file in kept.items()]

    def _reduce(self) -> None:
        """Bring the ranges of all files down to what a profile may have."""
        most = max(1, MAX_RANGES // len(self._files))
        for file in self._files.values():
            file.ranges = list(with_fewer_ranges(join_ranges(file.ranges), most))
        self._ranges = sum(len(file.ranges) for file in self._files.values())

    def _file(self, path: bytes, at_ns: int | None) -> tuple[_File, int]:
        file = self._files.get(path)
        if file is None:
            if len(self._files) >= MAX_FILES:
                raise InvalidRequest(
                    f"more than {MAX_FILES} files are read: is this the start of one container alone?"
                )
            check_path(path)
            at_ms = len(self._files) if at_ns is None else at_ns // _NS_PER_MS
            file = self._files[path] = _File(since_ms=at_ms, last_ms=at_ms)
        else:
            at_ms = len(self._files) - 1 if at_ns is None else at_ns // _NS_PER_MS
        file.last_ms = max(file.last_ms, at_ms)
        return file, at_ms


def is_path(path: bytes) -> bool:
    """Tell whether a path can stand in a profile: absolute, normal, not too long."""
    try:
        check_path(path)
    except InvalidDocument:
        return False
    return True


def _file_read(path: bytes, file: _File, since_ms: int, limit_ms: int, most_ranges: int) -> FileRead:
    first_ms = file.since_ms - since_ms
    shifted = (_later(one, first_ms) for one in file.ranges)
    ranges = [one for one in join_ranges(shifted) if one.first_ms <= limit_ms]
    size_bytes = file.size_bytes
    if size_bytes:
        ranges = [_cut(one, size_bytes) for one in ranges if one.start < size_bytes] or ranges
    return FileRead(
        path=path,
        first_ms=first_ms,
        last_ms=min(file.last_ms - since_ms, limit_ms),
        size_bytes=size_bytes,
        ranges=() if file.is_whole else with_fewer_ranges(join_ranges(ranges), most_ranges),
    )


def _later(one: ReadRange, ms: int) -> ReadRange:
    return ReadRange(start=one.start, end=one.end, first_ms=min(one.first_ms + ms, MAX_MS))


def _cut(one: ReadRange, size_bytes: int) -> ReadRange:
    return ReadRange(start=one.start, end=min(one.end, size_bytes), first_ms=one.first_ms)


def joined_path(directory: bytes, path: bytes) -> bytes:
    """Return a path below a directory without `.`, `..` and double slashes, which links on the way could change."""
    parts: list[bytes] = []
    for part in (path if path.startswith(b"/") else directory + b"/" + path).split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def are_of_the_machine(path: bytes) -> bool:
    """Tell whether a path leads into a file system of the kernel, which no image holds."""
    return path.startswith((b"/proc/", b"/sys/", b"/dev/"))
