"""What each layer of an image has, and what of it a start needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soci.start.model import LayerLoad, NeededSpan, Program
from soci.start.needs import SpanNeed, StartNeeds
from soci.ztoc.model import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """The sizes of a layer, and its spans if it has a zTOC."""

    compressed_bytes: int
    uncompressed_bytes: int
    files: int
    """Entries of its tar."""
    ztoc_bytes: int | None
    spans: tuple[Span, ...] | None


def layer_loads(layers: Iterable[LayerShape], needs: StartNeeds) -> tuple[LayerLoad, ...]:
    """Return what a reader loads of each layer, from the bottom layer up."""
    needed = group_by_layer(needs.spans)
    return tuple(
        LayerLoad(
            compressed_bytes=layer.compressed_bytes,
            uncompressed_bytes=layer.uncompressed_bytes,
            files=layer.files,
            ztoc_bytes=layer.ztoc_bytes,
            needed=needed_spans(layer.spans or (), [need.span for need in needed[number]]),
        )
        for number, layer in enumerate(layers)
    )


def group_by_layer(needs: Iterable[SpanNeed]) -> defaultdict[int, list[SpanNeed]]:
    """Return the needed spans of each layer, in the order of need."""
    layers: defaultdict[int, list[SpanNeed]] = defaultdict(list)
    for need in needs:
        layers[need.layer].append(need)
    return layers


def needed_spans(spans: Sequence[Span], numbers: Iterable[int]) -> tuple[NeededSpan, ...]:
    """Return some spans of a layer with their sizes, in the order of `numbers`."""
    return tuple(
        NeededSpan(
            number=number,
            compressed_bytes=spans[number].end - spans[number].start,
            uncompressed_bytes=spans[number].uncompressed_end - spans[number].uncompressed_start,
        )
        for number in numbers
    )


def program_of(needs: StartNeeds, seconds: float | None = None) -> Program:
    """Return what the program itself does.

    Args:
        needs: what its start needs.
        seconds: until it is ready when all is there. By default the time at which it last needed something new.
    """
    if seconds is None:
        times = [part.first_ms for need in needs.files for part in need.ranges]
        seconds = max(times, default=0) / 1000
    return Program(seconds=seconds, files=len(needs.files))
