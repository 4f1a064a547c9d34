"""The documents made from indexed layers: an index manifest per platform, and the converted image of version 2.

It does not matter where the layers were indexed. A zTOC's descriptor is enough; only prefetch patterns need its bytes,
and then one zTOC at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from soci.build.layer import RecompressedLayer
from soci.errors import BlobMissing
from soci.image.documents import Image, PlatformImage
from soci.image.files import contents_of_layer
from soci.image.filesystem import FileSystem
from soci.index.convert import ConvertedImage, PlatformIndex, convert_image, index_of_single
from soci.index.document import Document
from soci.index.manifest import LayerZtoc, describe_ztoc, encode_index_manifest
from soci.index.prefetch import SpanRange, encode_prefetch, merge_ranges, plan_prefetch
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageSource
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, IndexVersion
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.model import FileEntry, Span

ZtocReader = Callable[[Descriptor], bytes | bytearray]
"""Returns the bytes of a zTOC, checked against its descriptor."""

_NO_TAR = frozenset({Reason.NOT_A_LAYER, Reason.ENCRYPTED, Reason.UNKNOWN_COMPRESSION})
"""Layers left out for these reasons hold no tar that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPart:
    """One layer as the documents of an indexed image describe it."""

    descriptor: Descriptor
    """As the converted image has it. It may be that of a recompressed layer."""
    outcome: LayerZtoc | LeftOut
    recompressed: RecompressedLayer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledPlatform:
    """The documents made for one platform's image."""

    image: PlatformImage
    parts: tuple[LayerPart, ...]
    """In the image's order."""
    index: Document | None
    """The SOCI index manifest; None when no layer got a zTOC."""
    artifacts: tuple[Document, ...]
    """Prefetch artifacts, each once."""
    unmatched_prefetch: tuple[str, ...]

    def converted_manifest(self) -> ImageManifest:
        """Return the image manifest with recompressed layers in place of their zstd layers."""
        if not any(part.recompressed for part in self.parts):
            return self.image.manifest
        return replace(self.image.manifest, layers=tuple(part.descriptor for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecipe:
    """How index manifests are made from layers."""

    settings: IndexSettings
    version: IndexVersion
    read_ztoc: ZtocReader


def assemble_platform(
    source: ImageSource, image: PlatformImage, parts: Sequence[LayerPart], recipe: IndexRecipe
) -> AssembledPlatform:
    """Make the index manifest of an image from its layers, which are in the image's order.

    Raises:
        IntegrityError, SourceError: with prefetch patterns, a zTOC or a layer without one could not be read.
    """
    settings = recipe.settings
    ztocs = [describe_ztoc(part.outcome, settings) for part in parts if isinstance(part.outcome, LayerZtoc)]
    artifacts: dict[Digest, Document] = {}
    index, unmatched = None, settings.prefetch_patterns
    if ztocs:
        artifacts, unmatched = _prefetch(source, parts, recipe)
        prefetch = [
            replace(artifact.descriptor, annotations={SOCI_IMAGE_LAYER_DIGEST: str(part.descriptor.digest)})
            for part in parts
            if (artifact := artifacts.get(part.descriptor.digest))
        ]
        index = encode_index_manifest(
            version=recipe.version,
            ztocs=ztocs,
            prefetch=prefetch,
            image_manifest=image.descriptor,
            settings=settings,
        )
    return AssembledPlatform(
        image=image,
        parts=tuple(parts),
        index=index,
        artifacts=tuple(artifacts.values()),
        unmatched_prefetch=unmatched,
    )


def assemble_converted(image: Image, platforms: Sequence[AssembledPlatform]) -> ConvertedImage | None:
    """Make the documents of the converted image; None when no platform has an index."""
    made = [
        PlatformIndex(
            image_manifest=one.image.descriptor.digest, platform=one.image.platform, index=one.index
        )
        for one in platforms
        if one.index is not None
    ]
    if not made:
        return None
    return convert_image(index_of(image), converted_manifests(image, platforms), made)


def converted_manifests(image: Image, platforms: Sequence[AssembledPlatform]) -> dict[Digest, ImageManifest]:
    """Return the fetched image manifests by digest, those of indexed platforms with recompressed layers."""
    manifests = {one.descriptor.digest: one.manifest for one in image.images}
    return manifests | {one.image.descriptor.digest: one.converted_manifest() for one in platforms}


def index_of(image: Image) -> ImageIndex:
    """Return the index of an image. For a single image, return the index that its conversion starts with."""
    return image.index or index_of_single(image.root, image.images[0].platform)


def _prefetch(
    source: ImageSource, parts: Sequence[LayerPart], recipe: IndexRecipe
) -> tuple[dict[Digest, Document], tuple[str, ...]]:
    """Make the prefetch artifacts by layer digest. Layers left out are read, because they may hide or replace files."""
    patterns = recipe.settings.prefetch_patterns
    if not patterns:
        return {}, ()
    files: list[tuple[FileEntry, ...]] = []
    spans: list[tuple[Span, ...] | None] = []
    for part in parts:
        if isinstance(part.outcome, LayerZtoc):
            ztoc = recipe.read_ztoc(part.outcome.ztoc)
            files.append(tuple(decode_files(ztoc)))
            spans.append(decode_compression_info(ztoc).spans)
        else:
            files.append(_entries_if_readable(source, part.descriptor, part.outcome.reason))
            spans.append(None)
    plan = plan_prefetch(patterns, FileSystem.of(files), spans)
    ranges: dict[Digest, list[SpanRange]] = {}
    for part, found in zip(parts, plan.ranges, strict=True):
        if found:
            ranges.setdefault(part.descriptor.digest, []).extend(found)
    return {digest: encode_prefetch(merge_ranges(found)) for digest, found in ranges.items()}, plan.unmatched


def _entries_if_readable(source: ImageSource, layer: Descriptor, reason: Reason) -> tuple[FileEntry, ...]:
    """Return a layer's files; none for a layer that cannot be read (foreign, encrypted, no tar at all).

    A prefetch is a hint: if such a layer hides a file, at worst some spans are fetched for nothing.
    """
    if reason in _NO_TAR:
        return ()
    try:
        return contents_of_layer(source, layer).entries
    except BlobMissing:
        return ()
