"""What patterns and a start profile make of an image: prefetch artifacts, and layers that are left whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from soci.image.filesystem import FileSystem
from soci.index.document import Document
from soci.index.prefetch import (
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
from soci.start.needs import StartNeeds, plan_needs
from soci.start.prefetch_plan import StartPrefetch, plan_start_prefetch, with_headers
from soci.start.prefetch_source import ProfileUse, UsedProfile
from soci.start.profile import StartProfile
from soci.start.successors import fit_profile
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
    if profile is None:
        return _with_patterns(layers, files, settings)
    fitted = fit_profile(profile.profile, files)
    whole: dict[Digest, LeftOut] = {}
    if settings.whole_layers is WholeLayers.AUTO:
        whole = _plan_whole(layers, _needs_of(layers, files, fitted.profile))
        layers = [_without_ztoc(layer) if layer.descriptor.digest in whole else layer for layer in layers]
    made, plan = _with_profile(layers, files, settings, fitted.profile)
    use = ProfileUse(
        digest=profile.digest,
        files=len(profile.profile.files),
        missing=fitted.missing,
        renamed=fitted.renamed,
        needed_bytes=plan.needed_bytes,
        prefetched_bytes=plan.prefetched_bytes,
        left_off_spans=plan.left_off_spans,
    )
    return replace(made, whole=whole, use=use)


def _with_patterns(
    layers: Sequence[LayerTables], files: FileSystem, settings: IndexSettings
) -> ImagePrefetch:
    named = plan_prefetch(settings.prefetch_patterns, files, [layer.spans for layer in layers])
    documents = {
        digest: encode_prefetch(merge_ranges(found))
        for digest, found in _by_digest(layers, named.ranges).items()
    }
    return ImagePrefetch(artifacts=documents, unmatched=named.unmatched)


def _with_profile(
    layers: Sequence[LayerTables], files: FileSystem, settings: IndexSettings, profile: StartProfile
) -> tuple[ImagePrefetch, StartPrefetch]:
    spans = [layer.spans for layer in layers]
    named = plan_prefetch(settings.prefetch_patterns, files, spans)
    plan = plan_start_prefetch(
        _needs_of(layers, files, profile),
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
    return ImagePrefetch(artifacts=documents, unmatched=named.unmatched), plan


def _needs_of(layers: Sequence[LayerTables], files: FileSystem, profile: StartProfile) -> StartNeeds:
    spans = [layer.spans for layer in layers]
    return with_headers(plan_needs(profile, files, spans), [layer.entries for layer in layers], spans)


def _plan_whole(layers: Sequence[LayerTables], needs: StartNeeds) -> dict[Digest, LeftOut]:
    """Choose the layers that are left whole.

    A recompressed layer keeps its zTOC: it was made to be read through that.
    """
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
