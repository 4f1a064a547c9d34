"""Prefetch under a budget: the spans that a start needs first, as many as arrive in time (docs/adr/0051).

The owner's reader fetches the spans of a prefetch artifact before the container starts, each by a request of its own,
from as many workers as the machine has processors. So a span costs its bytes and a round trip.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from soci.index.prefetch import SpanRange, join_spans
from soci.start.needs import FileNeed, SpanNeed, StartNeeds
from soci.ztoc.model import FileEntry, Span

_BLOCK_BYTES = 512

BYTES_PER_REQUEST = 750_000
"""What arrives at 75 MB/s in a round trip of 20 ms that two workers share.

A budget of bytes allows one request for each of these. So the round trips take no longer than the bytes, and a budget
of 10 seconds is used up after 20 seconds at the most.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPrefetch:
    """The prefetch of an image, and how much of its start that covers. Sizes are those of compressed spans."""

    ranges: tuple[tuple[SpanRange, ...], ...]
    """Per layer, bottom layer first, in the order of need."""
    needed_bytes: int
    """All spans that the start needs of layers with a zTOC."""
    prefetched_bytes: int
    """Those of them that are prefetched."""
    left_off_spans: int
    """How many spans the start needs that did not fit into the budget."""


def with_headers(
    needs: StartNeeds, entries: Sequence[Sequence[FileEntry]], spans: Sequence[Sequence[Span] | None]
) -> StartNeeds:
    """Add the spans that hold the tar headers of the needed files.

    At the first read of a file, the owner's reader compares its header with the zTOC (formats.md 8.3). A header may end
    the span before that of the content.

    Args:
        needs: what the start needs of the content.
        entries: the entries of each layer, in the order of its tar.
        spans: per layer the spans of its zTOC, None for a layer without one.
    """
    first = {(one.layer, one.span): one.first_ms for one in needs.spans}
    for need in needs.files:
        layer = need.node.data_layer
        for span in _header_spans(need, entries[layer], spans[layer] or ()):
            first[layer, span] = min(need.read.first_ms, first.get((layer, span), need.read.first_ms))
    ordered = sorted(first.items(), key=lambda item: (item[1], item[0]))
    return replace(
        needs, spans=tuple(SpanNeed(layer=layer, span=span, first_ms=ms) for (layer, span), ms in ordered)
    )


def plan_start_prefetch(
    needs: StartNeeds,
    spans: Sequence[Sequence[Span] | None],
    budget_bytes: int,
    *,
    named: Sequence[Sequence[SpanRange]] = (),
) -> StartPrefetch:
    """Take the spans that a start needs, in their order, while they fit into a budget.

    A span that does not fit is left off, and later ones may still fit.

    Args:
        needs: what the start needs.
        spans: per layer the spans of its zTOC, None for a layer without one.
        budget_bytes: the limit for the compressed bytes of all spans, see also `BYTES_PER_REQUEST`.
        named: ranges per layer that are wanted in any case. They come first and use up the budget.
    """
    taken: list[dict[int, None]] = [{} for _ in spans]
    for chosen, ranges in zip(taken, named, strict=False):
        for part in ranges:
            chosen.update(dict.fromkeys(range(part.start, part.end + 1)))
    left_bytes = budget_bytes - sum(
        _size(spans, layer, span) for layer, chosen in enumerate(taken) for span in chosen
    )
    left_requests = -(-budget_bytes // BYTES_PER_REQUEST) - sum(map(len, taken))
    needed = prefetched = left_off = 0
    for need in needs.spans:
        size = _size(spans, need.layer, need.span)
        needed += size
        if need.span not in taken[need.layer]:
            if size > left_bytes or left_requests <= 0:
                left_off += 1
                continue
            taken[need.layer][need.span] = None
            left_bytes -= size
            left_requests -= 1
        prefetched += size
    return StartPrefetch(
        ranges=tuple(tuple(join_spans(chosen)) for chosen in taken),
        needed_bytes=needed,
        prefetched_bytes=prefetched,
        left_off_spans=left_off,
    )


def _size(spans: Sequence[Sequence[Span] | None], layer: int, number: int) -> int:
    """Return the compressed bytes of a span; none for a layer without a zTOC."""
    of_layer = spans[layer]
    return of_layer[number].end - of_layer[number].start if of_layer else 0


def _header_spans(need: FileNeed, entries: Sequence[FileEntry], spans: Sequence[Span]) -> Iterator[int]:
    """Yield the spans of a file's header, which begins where the content of the entry before ends."""
    if not need.ranges or need.node.data is None:
        return
    content = need.node.data.uncompressed_offset
    number = bisect_left(entries, content, key=lambda entry: entry.uncompressed_offset)
    header = 0
    if number:
        before = entries[number - 1]
        end = before.uncompressed_offset + before.uncompressed_size
        header = -(-end // _BLOCK_BYTES) * _BLOCK_BYTES
    behind = bisect_left(spans, content, key=lambda span: span.uncompressed_start)
    for span in range(behind - 1, -1, -1):
        if spans[span].uncompressed_end <= header:
            return
        yield span
