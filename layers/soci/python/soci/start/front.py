"""Which files of which layers a layer's front should hold, so that a start needs fewer bytes. Pure.

A layer is worth reordering if the start then needs clearly fewer bytes of it. It is not if the start reads nearly all
of the layer, if the layer is small, or if the files lie together already.

Large files of which little is read close the front. There they do not push the others apart, and they share the spans
at their ends with each other, not with files that nobody reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from soci.start.needs import FileNeed, StartNeeds, spans_of_range
from soci.ztoc.model import FileEntry, Span
from soci.ztoc.paths import clean_path
from soci.ztoc.reorder import Reordering, plan_reordering

MIN_SAVED_PERCENT = 10
"""Of the bytes that the start needs of a layer. Less is not worth a layer of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """What is known of a layer."""

    entries: Sequence[FileEntry]
    is_complete: bool = True
    """Whether these are all entries of the layer."""
    spans: Sequence[Span] | None = None
    """None for a layer without a zTOC, which is not reordered."""
    archive_bytes: int = 0
    """The size of the tar."""


def plan_fronts(needs: StartNeeds, layers: Sequence[LayerTable]) -> tuple[Reordering | None, ...]:
    """Return the new order of each layer that is worth it, else None. `layers` begins with the bottom one."""
    of_layer: list[list[FileNeed]] = [[] for _ in layers]
    for need in needs.files:
        of_layer[need.node.data_layer].append(need)
    links: Collection[bytes] | None = frozenset()
    found: list[Reordering | None] = []
    for layer, files in zip(layers, of_layer, strict=True):
        found.append(_plan_front(layer, files, links))
        links = None if links is None or not layer.is_complete else {*links, *_links_of(layer.entries)}
    return tuple(found)


def _plan_front(
    layer: LayerTable, needs: Iterable[FileNeed], lower_links: Collection[bytes] | None
) -> Reordering | None:
    if not layer.spans:
        return None
    numbers = {entry.uncompressed_offset: number for number, entry in enumerate(layer.entries)}
    wanted: dict[int, None] = {}
    last: dict[int, None] = {}
    spans: set[int] = set()
    largest = max(span.uncompressed_end - span.uncompressed_start for span in layer.spans)
    for need in needs:
        file = need.node.data
        if file is None or not need.ranges:
            continue
        if _is_large_and_hardly_read(need, file, largest):
            last[numbers[file.uncompressed_offset]] = None
            continue
        wanted[numbers[file.uncompressed_offset]] = None
        for part in need.ranges:
            spans.update(spans_of_range(file, part.start, part.end, layer.spans))

    def plan(files: Iterable[int]) -> Reordering:
        return plan_reordering(
            layer.entries, files, archive_bytes=layer.archive_bytes, lower_links=lower_links
        )

    made = plan(wanted)
    before = sum(layer.spans[one].uncompressed_end - layer.spans[one].uncompressed_start for one in spans)
    saved = before - made.front_bytes
    is_worth_it = made.moved and saved >= max(largest, before * MIN_SAVED_PERCENT // 100)
    return plan((*wanted, *last)) if is_worth_it else None


def _is_large_and_hardly_read(need: FileNeed, file: FileEntry, span_bytes: int) -> bool:
    return file.uncompressed_size > span_bytes and need.size_bytes < file.uncompressed_size // 2


def _links_of(entries: Iterable[FileEntry]) -> Iterable[bytes]:
    return (clean_path(entry.name) for entry in entries if entry.type == "symlink")
