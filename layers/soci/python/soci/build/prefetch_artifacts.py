"""What patterns and a start profile make of an image: prefetch artifacts, and layers that are left whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from soci.image.filesystem import FileSystem
from soci.index.document import Document
from soci.index.prefetch import (
    PrefetchPlan,
    SpanRange,
    encode_prefetch,
    join_spans,
    merge_ranges,
    plan_prefetch,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, WholeLayers
from soci.start.loads import LayerShape, layer_loads
from soci.start.needs import plan_needs
from soci.start.prefetch_plan import plan_start_prefetch, with_headers
from soci.start.prefetch_source import ProfileUse, UsedProfile
from soci.start.whole_layers import plan_whole_layers, share_needed
from soci.ztoc.model import FileEntry, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTables:
    """A layer's files, and the spans of its zTOC if it has one."""

    descriptor: Descriptor
    entries: Sequence[FileEntry]
    ztoc_bytes: int | None = None
    spans: tuple[Span, ...] | None = None
    is_recompressed: bool = False

    @property
    def shape(self) -> LayerShape:
        """The layer's sizes."""
        last = self.entries[-1] if self.entries else None
        return LayerShape(
            compressed_bytes=self.descriptor.size,
            uncompressed_bytes=last.uncompressed_offset + last.uncompressed_size if last else 0,
            files=len(self.entries),
            ztoc_bytes=self.ztoc_bytes,
            spans=self.spans,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrefetch:
    """What an image's readers fetch before the container starts."""

    artifacts: Mapping[Digest, Document] = field(default_factory=dict)
    """By the layer's digest."""
    unmatched: tuple[str, ...] = ()
    """Patterns that match no file."""
    whole: Mapping[Digest, LeftOut] = field(default_factory=dict)
    """The layers whose zTOC is left off, by digest."""
    use: ProfileUse | None = None
    """What came of the profile, if there is one."""


def plan_image_prefetch(
    layers: Sequence[LayerTables], settings: IndexSettings, profile: UsedProfile | None
) -> ImagePrefetch:
    """Make the prefetch artifacts of an image, whose layers are in its order.

    Patterns alone give the bytes that the owner's command writes. A profile adds its spans behind those, in the order
    of need, under the budget. It also tells which layers are better left whole, if the settings ask for that.
    """
    files = FileSystem.of([layer.entries for layer in layers])
    if profile is not None and settings.whole_layers is WholeLayers.AUTO:
        whole = _plan_whole(layers, files, profile)
        kept = [_without_ztoc(layer) if layer.descriptor.digest in whole else layer for layer in layers]
        return replace(_plan(kept, files, settings, profile), whole=whole)
    return _plan(layers, files, settings, profile)


def _plan(
    layers: Sequence[LayerTables], files: FileSystem, settings: IndexSettings, profile: UsedProfile | None
) -> ImagePrefetch:
    spans = [layer.spans for layer in layers]
    named = plan_prefetch(settings.prefetch_patterns, files, spans)
    if profile is None:
        ranges = _by_digest(layers, named.ranges)
        documents = {digest: encode_prefetch(merge_ranges(found)) for digest, found in ranges.items()}
        return ImagePrefetch(artifacts=documents, unmatched=named.unmatched)
    return _with_profile(layers, files, named, settings, profile)


def _with_profile(
    layers: Sequence[LayerTables],
    files: FileSystem,
    named: PrefetchPlan,
    settings: IndexSettings,
    profile: UsedProfile,
) -> ImagePrefetch:
    spans = [layer.spans for layer in layers]
    needs = plan_needs(profile.profile, files, spans)
    plan = plan_start_prefetch(
        with_headers(needs, [layer.entries for layer in layers], spans),
        spans,
        settings.prefetch_budget_bytes,
        named=named.ranges,
    )
    documents = {
        digest: encode_prefetch(
            join_spans(span for part in found for span in range(part.start, part.end + 1))
        )
        for digest, found in _by_digest(layers, plan.ranges).items()
    }
    use = ProfileUse(
        digest=profile.digest,
        files=len(profile.profile.files),
        missing=needs.missing,
        needed_bytes=plan.needed_bytes,
        prefetched_bytes=plan.prefetched_bytes,
        left_off_spans=plan.left_off_spans,
    )
    return ImagePrefetch(artifacts=documents, unmatched=named.unmatched, use=use)


def _plan_whole(
    layers: Sequence[LayerTables], files: FileSystem, profile: UsedProfile
) -> dict[Digest, LeftOut]:
    """Choose the layers that are left whole.

    A recompressed layer keeps its zTOC: it was made to be read through that.
    """
    spans = [layer.spans for layer in layers]
    needs = with_headers(
        plan_needs(profile.profile, files, spans), [layer.entries for layer in layers], spans
    )
    loads = layer_loads([layer.shape for layer in layers], needs)
    return {
        layers[number].descriptor.digest: LeftOut(
            reason=Reason.READ_WHOLE,
            detail=f"{share_needed(loads[number]):.0%} of {loads[number].compressed_bytes} bytes",
        )
        for number in sorted(plan_whole_layers(loads))
        if not layers[number].is_recompressed
    }


def _without_ztoc(layer: LayerTables) -> LayerTables:
    return replace(layer, ztoc_bytes=None, spans=None)


def _by_digest(
    layers: Sequence[LayerTables], ranges: Sequence[Sequence[SpanRange]]
) -> dict[Digest, list[SpanRange]]:
    """Collect the ranges of each content. A layer that occurs twice has one artifact."""
    collected: dict[Digest, list[SpanRange]] = {}
    for layer, found in zip(layers, ranges, strict=True):
        if found:
            collected.setdefault(layer.descriptor.digest, []).extend(found)
    return collected
