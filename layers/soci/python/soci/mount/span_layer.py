"""A layer as spans: their sizes, their names in the cache, and what a hostile zTOC may not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soci.errors import InvalidZtoc
from soci.mount.span_key import SpanKey
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.ztoc.model import CompressionInfo, Span

MAX_RATIO = 1_032
"""Deflate cannot expand more than this. A zTOC that says more is refused before anything is fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLayer:
    """A layer that is read by spans."""

    descriptor: Descriptor
    group: str
    info: CompressionInfo

    @property
    def end_bytes(self) -> int:
        """The size of the content."""
        return self.info.spans[-1].uncompressed_end if self.info.spans else 0

    def key(self, number: int) -> SpanKey:
        """Return the name of a span in the cache."""
        return SpanKey(self.group, number)

    def size_bytes(self, number: int) -> int:
        """Return the size of a span's content."""
        span = self.info.spans[number]
        return span.uncompressed_end - span.uncompressed_start


def check_spans_of(descriptor: Descriptor, info: CompressionInfo) -> None:
    """Check that spans follow one another in the layer, and expand no more than deflate can. Raises `InvalidZtoc`."""
    at = 0
    for number, span in enumerate(info.spans):
        content_bytes = span.uncompressed_end - span.uncompressed_start
        ratio = MAX_RATIO if info.algorithm is Compression.GZIP else 1
        is_inside = 0 <= span.start <= span.end <= descriptor.size and span.uncompressed_start == at
        if not is_inside or not 0 <= content_bytes <= (span.end - span.start) * ratio:
            raise InvalidZtoc(
                f"layer {descriptor.digest}: span {number} cannot be bytes {span.start} to {span.end} of"
                f" {descriptor.size} with content {span.uncompressed_start} to {span.uncompressed_end}"
            )
        at = span.uncompressed_end


def joined(spans: Sequence[Span], numbers: Iterable[int], *, limit_bytes: int) -> list[tuple[int, int]]:
    """Group spans into requests: the first and last of neighbours that fetch no more than `limit_bytes` together."""
    groups: list[tuple[int, int]] = []
    for number in numbers:
        if (
            groups
            and number == groups[-1][1] + 1
            and spans[number].end - spans[groups[-1][0]].start <= limit_bytes
        ):
            groups[-1] = groups[-1][0], number
        else:
            groups.append((number, number))
    return groups
