"""What a start would need of layers with other spans: of another size, or with the start's files in front.

A zTOC tells how many compressed bytes lie between two of its checkpoints. In between they are taken as even.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from soci.start.loads import LayerShape
from soci.start.model import LayerLoad, NeededSpan
from soci.start.needs import FileNeed, StartNeeds, first_times
from soci.ztoc.model import Span
from soci.ztoc.reorder import Reordering

CHECKPOINT_BYTES = 32 << 10
"""What each span of a gzip layer adds to its zTOC."""

MAX_LAYER_BYTES = 1 << 40
"""The spans of a larger layer stay as they are. A zTOC may claim any size, and each span takes memory."""

_Part = tuple[int, int, int]
"""Uncompressed bytes [start, end) of a layer, and the millisecond at which they are needed first."""


def with_span_size(
    shapes: Sequence[LayerShape], loads: Sequence[LayerLoad], needs: StartNeeds, span_size_bytes: int
) -> tuple[LayerLoad, ...]:
    """Return what would be loaded if spans had this size."""
    changed = []
    files = _group_files(needs.files)
    for number, (shape, load) in enumerate(zip(shapes, loads, strict=True)):
        if not shape.spans or load.ztoc_bytes is None or shape.uncompressed_bytes > MAX_LAYER_BYTES:
            changed.append(load)
            continue
        parts = [
            (file.uncompressed_offset + part.start, file.uncompressed_offset + part.end, part.first_ms)
            for need in files[number]
            if (file := need.node.data) is not None
            for part in need.ranges
        ]
        count = -(-shape.uncompressed_bytes // span_size_bytes)
        has_windows = load.ztoc_bytes >= len(shape.spans) * CHECKPOINT_BYTES  # an uncompressed layer has none
        ztoc_bytes = load.ztoc_bytes + (count - len(shape.spans)) * CHECKPOINT_BYTES * has_windows
        needed = tuple(_cut(_curve_of(shape.spans), parts, span_size_bytes))
        changed.append(replace(load, ztoc_bytes=ztoc_bytes, needed=needed))
    return tuple(changed)


def with_start_first(
    shapes: Sequence[LayerShape],
    loads: Sequence[LayerLoad],
    needs: StartNeeds,
    span_size_bytes: int,
    fronts: Sequence[Reordering | None],
) -> tuple[LayerLoad, ...]:
    """Return what would be loaded if the entries of each layer came in the order of `fronts`; None keeps a layer."""
    files = _group_files(needs.files)
    changed = []
    for number, (shape, load, front) in enumerate(zip(shapes, loads, fronts, strict=True)):
        if front is None or not shape.spans or shape.uncompressed_bytes > MAX_LAYER_BYTES:
            changed.append(load)
            continue
        points, parts = _lay_out(front, files[number], _curve_of(shape.spans))
        changed.append(replace(load, needed=tuple(_cut(_Curve.of(points), parts, span_size_bytes))))
    return tuple(changed)


@dataclass(frozen=True, slots=True)
class _Curve:
    """How many compressed bytes lie before each uncompressed byte."""

    uncompressed: tuple[int, ...]
    compressed: tuple[float, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[int, float]]) -> _Curve:
        uncompressed, compressed = zip(*points, strict=True)
        return cls(uncompressed, compressed)

    def at(self, position: int) -> float:
        """Return the number of compressed bytes before a position."""
        number = min(bisect_right(self.uncompressed, position), len(self.uncompressed) - 1)
        low, high = self.uncompressed[number - 1], self.uncompressed[number]
        share = min(1.0, (position - low) / (high - low)) if high > low else 1.0
        return self.compressed[number - 1] + share * (self.compressed[number] - self.compressed[number - 1])


def _group_files(files: Iterable[FileNeed]) -> defaultdict[int, list[FileNeed]]:
    """Return the files of each layer, in the order of need."""
    layers: defaultdict[int, list[FileNeed]] = defaultdict(list)
    for need in files:
        layers[need.node.data_layer].append(need)
    return layers


def _curve_of(spans: Sequence[Span]) -> _Curve:
    return _Curve.of(
        [
            *((span.uncompressed_start, span.start) for span in spans),
            (spans[-1].uncompressed_end, spans[-1].end),
        ]
    )


def _lay_out(
    front: Reordering, files: Iterable[FileNeed], curve: _Curve
) -> tuple[list[tuple[int, float]], list[_Part]]:
    """Put the entries of a layer into a new order. Returns the points of the curve there, and the needed parts."""
    points: list[tuple[int, float]] = [(0, 0.0)]
    moved: dict[int, int] = {}
    for number in front.order:
        start, end = front.segments[number]
        at, compressed = points[-1]
        moved[number] = at - start
        points.append((at + end - start, compressed + curve.at(end) - curve.at(start)))
    starts = [segment.start for segment in front.segments]
    parts = []
    for need in files:
        file = need.node.data
        if file is not None and need.ranges:
            begin = file.uncompressed_offset
            begin += moved[bisect_right(starts, begin) - 1]
            parts += [(begin + part.start, begin + part.end, part.first_ms) for part in need.ranges]
    return points, parts


def _cut(curve: _Curve, parts: Iterable[_Part], span_size_bytes: int) -> Iterator[NeededSpan]:
    """Yield the spans of one size that hold the parts, in the order of need."""
    first = first_times(
        (range(start // span_size_bytes, -(-end // span_size_bytes)), ms) for start, end, ms in parts
    )
    total = curve.uncompressed[-1]
    for number, _ in sorted(first.items(), key=lambda item: (item[1], item[0])):
        start, end = number * span_size_bytes, min((number + 1) * span_size_bytes, total)
        yield NeededSpan(
            number=number,
            compressed_bytes=round(curve.at(end) - curve.at(start)),
            uncompressed_bytes=max(0, end - start),
        )
