"""What a start needs of an image: a profile's files, found by their paths, and the spans that hold them.

Files are found by path, so a profile of one build fits the next. A range that the file no longer has is cut. A file
that was read whole is needed whole, also if it has grown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from soci.errors import NotInImage
from soci.image.filesystem import FileSystem, Node
from soci.start.profile import FileRead, ReadRange, StartProfile
from soci.ztoc.model import FileEntry, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanNeed:
    """A span of a layer, and when the start first needs it."""

    layer: int
    """The layer's number in the image."""
    span: int
    first_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNeed:
    """A file of the profile that the image has."""

    read: FileRead
    node: Node
    """Where the path leads. It is a regular file with content in layer `node.data_layer`."""
    ranges: tuple[ReadRange, ...]
    """What of it is needed, within its size; none of an empty file."""

    @property
    def size_bytes(self) -> int:
        """The bytes that are needed of the file. Overlapping ranges count once."""
        total = end = 0
        for part in sorted(self.ranges, key=lambda part: part.start):
            total += max(0, part.end - max(part.start, end))
            end = max(end, part.end)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class StartNeeds:
    """What a start needs of an image."""

    spans: tuple[SpanNeed, ...]
    """Each span once, in the order of first need."""
    files: tuple[FileNeed, ...]
    """In the order of the profile."""
    missing: tuple[bytes, ...]
    """Paths of the profile that lead to no file of the image."""


def plan_needs(
    profile: StartProfile, files: FileSystem, spans: Sequence[Sequence[Span] | None]
) -> StartNeeds:
    """Find what a profile's files need of an image.

    Args:
        profile: the recorded start.
        files: the merged view of all layers.
        spans: per layer the spans of its zTOC, or None for a layer without one. Its files are found, too, but need
            no spans.
    """
    found: list[FileNeed] = []
    missing: list[bytes] = []
    parts: dict[int, list[tuple[range, int]]] = {}
    for read in profile.files:
        node = _find(read.path, files)
        if node is None or node.data is None:
            missing.append(read.path)
            continue
        need = FileNeed(read=read, node=node, ranges=tuple(_ranges(read, node.data.uncompressed_size)))
        found.append(need)
        layer_spans = spans[node.data_layer]
        parts.setdefault(node.data_layer, []).extend(
            (spans_of_range(node.data, part.start, part.end, layer_spans or ()), part.first_ms)
            for part in (need.ranges if layer_spans else ())
        )
    first = {
        (layer, span): ms for layer, of_layer in parts.items() for span, ms in first_times(of_layer).items()
    }
    ordered = sorted(first.items(), key=lambda item: (item[1], item[0]))
    return StartNeeds(
        spans=tuple(SpanNeed(layer=layer, span=span, first_ms=ms) for (layer, span), ms in ordered),
        files=tuple(found),
        missing=tuple(missing),
    )


def spans_of_range(file: FileEntry, start: int, end: int, spans: Sequence[Span]) -> range:
    """Return the numbers of the spans that hold bytes [start, end) of a file, which are not empty."""
    begin = file.uncompressed_offset
    first = bisect_right(spans, begin + start, key=_uncompressed_start) - 1
    behind = bisect_left(spans, begin + end, key=_uncompressed_start)
    return range(max(first, 0), behind)


def first_times(parts: Iterable[tuple[range, int]]) -> dict[int, int]:
    """Return for each number of the ranges the earliest time that goes with it.

    Each number is visited about once, however many ranges hold it: a profile may name one file by a hundred thousand
    paths.
    """
    first: dict[int, int] = {}
    behind: dict[int, int] = {}  # for a number that has a time: one that may have none, and lies behind it
    for numbers, ms in sorted(parts, key=_time):
        number = numbers.start
        while number < numbers.stop:
            trail = []
            while number in behind:
                trail.append(number)
                number = behind[number]
            behind.update(dict.fromkeys(trail, number))
            if number < numbers.stop:
                first[number] = ms
                behind[number] = number + 1
    return first


def _time(part: tuple[range, int]) -> int:
    return part[1]


def _find(path: bytes, files: FileSystem) -> Node | None:
    try:
        node = files.lookup(path)
    except NotInImage:
        return None
    return node if node.type == "reg" else None


def _ranges(read: FileRead, size_bytes: int) -> Iterator[ReadRange]:
    """Yield what is needed of a file that has this size now."""
    if not size_bytes:
        return
    if read.is_whole:
        yield ReadRange(start=0, end=size_bytes, first_ms=read.first_ms)
        return
    for part in read.ranges:
        if part.start < size_bytes:
            yield ReadRange(start=part.start, end=min(part.end, size_bytes), first_ms=part.first_ms)


def _uncompressed_start(span: Span) -> int:
    return span.uncompressed_start
