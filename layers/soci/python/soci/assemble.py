"""What the indexed layers of one platform's image add up to: the index manifest and its prefetch artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.errors import BlobMissing
from soci.fetch import PlatformImage
from soci.filesystem import FileSystem
from soci.index.documents import Document
from soci.index.manifest import IndexVersion, LayerZtoc, describe_ztoc, encode_index_manifest
from soci.index.prefetch import SpanRange, encode_prefetch, merge_ranges, plan_prefetch
from soci.index_layers import LayerResult
from soci.layer_files import entries_of_layer
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.ports import ImageSource
from soci.reasons import Reason
from soci.settings import IndexSettings
from soci.ztoc.builder import IndexedLayer
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.model import FileEntry, Span

_NO_TAR = frozenset({Reason.NOT_A_LAYER, Reason.ENCRYPTED, Reason.UNKNOWN_COMPRESSION})
"""What was left out for these reasons is not even tried to be read as a tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResult:
    """What came of one platform's image."""

    image: PlatformImage
    layers: tuple[LayerResult, ...]
    """In the image's order."""
    index: Document | None
    """The SOCI index manifest; None when no layer got a zTOC."""
    artifacts: tuple[Document, ...]
    """Prefetch artifacts, each once."""
    unmatched_prefetch: tuple[str, ...]


def assemble_platform(
    source: ImageSource,
    image: PlatformImage,
    layers: Sequence[LayerResult],
    settings: IndexSettings,
    version: IndexVersion,
) -> PlatformResult:
    """Make the index manifest of an image from its layers' results, which are in the image's order.

    Raises:
        IntegrityError, SourceError: with prefetch patterns, a layer that was left out could not be read.
    """
    ztocs = [
        describe_ztoc(
            LayerZtoc(
                layer=layer.descriptor,
                ztoc=ztoc_descriptor(layer.outcome),
                needs_xattrs=layer.outcome.needs_xattrs,
            ),
            settings,
        )
        for layer in layers
        if isinstance(layer.outcome, IndexedLayer)
    ]
    if not ztocs:
        return PlatformResult(
            image=image,
            layers=tuple(layers),
            index=None,
            artifacts=(),
            unmatched_prefetch=settings.prefetch_patterns,
        )
    artifacts, unmatched = _prefetch(source, layers, settings)
    prefetch = [
        replace(artifact.descriptor, annotations={SOCI_IMAGE_LAYER_DIGEST: str(layer.descriptor.digest)})
        for layer in layers
        if (artifact := artifacts.get(layer.descriptor.digest))
    ]
    index = encode_index_manifest(
        version=version, ztocs=ztocs, prefetch=prefetch, image_manifest=image.descriptor, settings=settings
    )
    return PlatformResult(
        image=image,
        layers=tuple(layers),
        index=index,
        artifacts=tuple(artifacts.values()),
        unmatched_prefetch=unmatched,
    )


def _prefetch(
    source: ImageSource, layers: Sequence[LayerResult], settings: IndexSettings
) -> tuple[dict[Digest, Document], tuple[str, ...]]:
    """Make the prefetch artifacts by layer digest. Layers left out are read for what they hide or replace."""
    if not settings.prefetch_patterns:
        return {}, ()
    files: list[tuple[FileEntry, ...]] = []
    spans: list[tuple[Span, ...] | None] = []
    for layer in layers:
        if isinstance(layer.outcome, IndexedLayer):
            files.append(tuple(decode_files(layer.outcome.ztoc)))
            spans.append(decode_compression_info(layer.outcome.ztoc).spans)
        else:
            files.append(_entries_if_readable(source, layer.descriptor, layer.outcome.reason))
            spans.append(None)
    plan = plan_prefetch(settings.prefetch_patterns, FileSystem.of(files), spans)
    ranges: dict[Digest, list[SpanRange]] = {}
    for layer, found in zip(layers, plan.ranges, strict=True):
        if found:
            ranges.setdefault(layer.descriptor.digest, []).extend(found)
    return {digest: encode_prefetch(merge_ranges(found)) for digest, found in ranges.items()}, plan.unmatched


def _entries_if_readable(source: ImageSource, layer: Descriptor, reason: Reason) -> tuple[FileEntry, ...]:
    """Return a layer's files; none for a layer that cannot be read (foreign, encrypted, no tar at all).

    Whatever such a layer hides, a prefetch is a hint: at worst spans are fetched that nobody needs.
    """
    if reason in _NO_TAR:
        return ()
    try:
        return entries_of_layer(source, layer)
    except BlobMissing:
        return ()


def ztoc_descriptor(indexed: IndexedLayer) -> Descriptor:
    """Describe a zTOC as a blob."""
    return Descriptor(media_type=media_types.ZTOC, digest=indexed.digest, size=len(indexed.ztoc))
