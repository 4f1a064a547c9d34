"""Some ranges of a stream, or all but these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from soci.layer.chunks import Chunk


def pick_ranges(chunks: Iterable[Chunk], ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of ranges in pieces, each with the number of its range. Stops behind the last range.

    `ranges` are pairs of positions [start, end) in ascending order. They do not overlap.
    """
    number = 0
    for chunk in chunks:
        data, start = chunk.data, chunk.offset
        end = start + len(data)
        while number < len(ranges) and ranges[number][0] < end:
            first, behind = ranges[number]
            if piece := bytes(data[max(first - start, 0) : behind - start]):
                yield number, piece
            if behind > end:
                break
            number += 1
        if number == len(ranges):
            return


def leave_ranges(chunks: Iterable[Chunk], ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield all bytes outside the ranges, which are as in `pick_ranges`."""
    number = 0
    for chunk in chunks:
        data, start = chunk.data, chunk.offset
        at, end = start, start + len(data)
        while at < end:
            while number < len(ranges) and ranges[number][1] <= at:
                number += 1
            first, behind = ranges[number] if number < len(ranges) else (end, end)
            if at < first:
                yield bytes(data[at - start : min(first, end) - start])
            at = max(behind, at) if first < end else end
