"""What was read of a file, as ranges in the order of need: each byte once, at the earliest time that it was needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush

from soci.start.profile import ReadRange


def join_ranges(ranges: Iterable[ReadRange]) -> tuple[ReadRange, ...]:
    """Return the union of ranges, in the order of need. Each byte has the earliest of its times.

    Neighbours that are needed at the same time are one range, so the order and grouping of the reads does not matter.
    """
    pieces: list[ReadRange] = []
    for start, end, first_ms in _pieces(sorted(ranges, key=lambda one: (one.start, one.first_ms))):
        piece = ReadRange(start=start, end=end, first_ms=first_ms)
        if pieces and pieces[-1].end == start and pieces[-1].first_ms == first_ms:
            pieces[-1] = _hull(pieces[-1], piece)
        else:
            pieces.append(piece)
    return tuple(sorted(pieces, key=lambda one: (one.first_ms, one.start)))


def with_fewer_ranges(ranges: Sequence[ReadRange], limit: int) -> tuple[ReadRange, ...]:
    """Return at most `limit` ranges, at least 1, that hold all bytes of the given ones.

    Neighbours become one, with the earlier time; then those with a small gap between them, which grows until they fit.
    """
    gap_bytes = 0
    while len(ranges) > limit:
        ranges = _with_filled_gaps(ranges, gap_bytes)
        gap_bytes = gap_bytes * 2 or 4096
    return tuple(ranges)


def _pieces(ranges: Sequence[ReadRange]) -> Iterator[tuple[int, int, int]]:
    """Cut ranges, sorted by their starts, so that each byte is in one piece, with its earliest time."""
    active: list[tuple[int, int]] = []
    at = number = 0
    while active or number < len(ranges):
        if not active:
            at = ranges[number].start
        while number < len(ranges) and ranges[number].start == at:
            heappush(active, (ranges[number].first_ms, ranges[number].end))
            number += 1
        first_ms, end = active[0]
        if end <= at:
            heappop(active)
            continue
        if number < len(ranges):
            end = min(end, ranges[number].start)
        yield at, end, first_ms
        at = end


def _with_filled_gaps(ranges: Sequence[ReadRange], gap_bytes: int) -> tuple[ReadRange, ...]:
    joined: list[ReadRange] = []
    for one in sorted(ranges, key=lambda one: one.start):
        if joined and one.start - joined[-1].end <= gap_bytes:
            joined[-1] = _hull(joined[-1], one)
        else:
            joined.append(one)
    return tuple(sorted(joined, key=lambda one: (one.first_ms, one.start)))


def _hull(one: ReadRange, other: ReadRange) -> ReadRange:
    return ReadRange(
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        first_ms=min(one.first_ms, other.first_ms),
    )
