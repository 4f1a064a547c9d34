"""Prefetch artifacts: spans that a reader fetches before the container starts (formats.md 7).

    {"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":3},...]}       both ends inclusive

Patterns are matched against the merged file system, as the container will see it: `./` names, links, whiteouts and
replaced files are handled. The spans of a file are those that the format's owner takes, so the bytes are equal.
"""

from __future__ import annotations

import bisect
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from soci.errors import InvalidDocument, NotInImage
from soci.image.filesystem import FileSystem, Node
from soci.index.document import Document, document_of
from soci.oci import gojson, media_types
from soci.oci.descriptor import Descriptor
from soci.oci.fields import Fields
from soci.oci.integrity import check_content
from soci.places.ports import ImageSource
from soci.ztoc.model import FileEntry, Span

PREFETCH_LIMIT_BYTES = 4 << 20
"""Room for some hundred thousand ranges. A real artifact has a handful."""

MAX_NAMED_SPANS = 1_000_000
"""The limit for all ranges together. Ranges may overlap, so without it one artifact could name billions."""

_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SpanRange:
    """Spans to fetch, both ends inclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchPlan:
    """The spans to prefetch per layer, bottom layer first, and the patterns that matched no file."""

    ranges: tuple[tuple[SpanRange, ...], ...]
    unmatched: tuple[str, ...]


def plan_prefetch(
    patterns: Sequence[str], files: FileSystem, spans: Sequence[Sequence[Span] | None]
) -> PrefetchPlan:
    """Find the files that match the patterns, and the spans that hold them.

    Args:
        patterns: paths or globs; a directory means all files below it.
        files: the merged view of all layers.
        spans: per layer the spans of its zTOC, or None for a layer without one, which has nothing to prefetch.
    """
    found: list[list[SpanRange]] = [[] for _ in spans]
    unmatched: list[str] = []
    for pattern in patterns:
        nodes = [node for node in _expand(pattern, files) if node.data is not None and node.type == "reg"]
        if not nodes:
            unmatched.append(pattern)
        for node in nodes:
            layer_spans = spans[node.data_layer]
            if layer_spans and node.data is not None:
                found[node.data_layer].append(_spans_of(node.data, layer_spans))
    return PrefetchPlan(
        ranges=tuple(tuple(merge_ranges(ranges)) for ranges in found), unmatched=tuple(unmatched)
    )


def merge_ranges(ranges: Iterable[SpanRange]) -> Iterator[SpanRange]:
    """Yield ranges in order. Ranges that overlap or touch are joined."""
    current: SpanRange | None = None
    for part in sorted(ranges):
        if current is not None and part.start <= current.end + 1:
            current = SpanRange(start=current.start, end=max(current.end, part.end))
            continue
        if current is not None:
            yield current
        current = part
    if current is not None:
        yield current


def join_spans(spans: Iterable[int]) -> Iterator[SpanRange]:
    """Yield ranges of neighbouring spans. Each stands where the first of its spans stood."""
    order = {span: number for number, span in reversed([*enumerate(spans)])}
    runs = merge_ranges(SpanRange(start=span, end=span) for span in order)
    yield from sorted(runs, key=lambda run: min(order[span] for span in range(run.start, run.end + 1)))


def encode_prefetch(ranges: Iterable[SpanRange]) -> Document:
    """Return the artifact of one layer."""
    spans = [{"start_span": part.start, "end_span": part.end} for part in ranges]
    return document_of(media_types.PREFETCH, gojson.encode({"version": _VERSION, "prefetch_spans": spans}))


def parse_prefetch(data: bytes, *, span_count: int) -> tuple[SpanRange, ...]:
    """Return the ranges of an artifact, as strictly as the reader takes it.

    Raises:
        InvalidDocument: another version, no ranges, or ranges outside the layer's spans.
    """
    fields = Fields(
        gojson.decode(data, "prefetch artifact", limit_bytes=PREFETCH_LIMIT_BYTES), "prefetch artifact"
    )
    if (version := fields.string("version")) != _VERSION:
        raise InvalidDocument(f"prefetch artifact: version {version!r}, want {_VERSION!r}")
    ranges = tuple(
        SpanRange(start=span.integer("start_span") or 0, end=span.integer("end_span") or 0)
        for span in fields.children("prefetch_spans") or ()
    )
    if not ranges:
        raise InvalidDocument("prefetch artifact: no spans")
    for part in ranges:
        if not 0 <= part.start <= part.end < span_count:
            raise InvalidDocument(f"prefetch artifact: spans {part.start} to {part.end} of {span_count}")
    if (named := sum(part.end - part.start + 1 for part in ranges)) > MAX_NAMED_SPANS:
        raise InvalidDocument(f"prefetch artifact: {named} spans, want at most {MAX_NAMED_SPANS}")
    return ranges


def fetch_prefetch(source: ImageSource, artifact: Descriptor, *, span_count: int) -> tuple[SpanRange, ...]:
    """Return the ranges of an artifact in a place.

    Raises:
        InvalidDocument: see `parse_prefetch`; or it is larger than any artifact.
        DigestMismatch, SizeMismatch, SourceError: its bytes are wrong, missing or cannot be read.
    """
    data = source.fetch_range(artifact, 0, min(artifact.size, PREFETCH_LIMIT_BYTES + 1))
    ranges = parse_prefetch(data, span_count=span_count)
    check_content(artifact, data)
    return ranges


def _expand(pattern: str, files: FileSystem) -> Iterator[Node]:
    """Yield the nodes that match a pattern. Links are followed, and a directory gives the files below it.

    A path that exists is taken as it is: some programs name their files `[id].js`.
    """
    written = pattern.encode("utf-8", "surrogateescape")
    try:
        paths = [files.lookup(written).path]
    except NotInImage:
        paths = [node.path for node in files.glob(written)]
    for path in paths:
        try:
            target = files.lookup(path)
        except NotInImage:
            continue
        if target.type == "dir":
            yield from files.glob(glob.escape(target.path) + b"/**")
        else:
            yield target


def _spans_of(file: FileEntry, spans: Sequence[Span]) -> SpanRange:
    # The end is the first byte after the file, as with the format's owner. On a boundary it costs one span too many.
    start, end = (
        max(bisect.bisect_right(spans, offset, key=_uncompressed_start) - 1, 0)
        for offset in (file.uncompressed_offset, file.uncompressed_offset + file.uncompressed_size)
    )
    return SpanRange(start=start, end=end)


def _uncompressed_start(span: Span) -> int:
    return span.uncompressed_start
