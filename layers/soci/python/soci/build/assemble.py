"""The documents made from indexed layers: an index manifest per platform, and the converted image of version 2.

It does not matter where the layers were indexed. A zTOC's descriptor is enough; only a start profile and prefetch
patterns need its bytes, and then one zTOC at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soci.build.layer import RecompressedLayer
from soci.errors import BlobMissing
from soci.image.documents import Image, PlatformImage, fetch_diff_ids
from soci.image.files import LayerContents, contents_of_layer
from soci.index.convert import ConvertedImage, PlatformIndex, convert_image, index_of_single
from soci.index.document import Document, document_of
from soci.index.manifest import LayerZtoc, describe_ztoc, encode_index_manifest
from soci.index.original import reordered_manifest
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.image_config import replace_diff_ids
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ImageSource
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, IndexVersion
from soci.start.prefetch_source import ProfileUse, UsedProfile, prefetch_source_digest
from soci.ztoc.decode import decode_compression_info, decode_files

if TYPE_CHECKING:
    from soci.build.prefetch_artifacts import ImagePrefetch, LayerTables

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
    """In the image's order, as the index has them. The profile may have left some whole."""
    given: tuple[LayerPart, ...]
    """The same, before the profile decided anything."""
    index: Document | None
    """The SOCI index manifest; None when no layer has a zTOC."""
    artifacts: tuple[Document, ...]
    """Prefetch artifacts, each once."""
    unmatched_prefetch: tuple[str, ...]
    profile: ProfileUse | None = None
    """What came of the start profile; None without one, or without an index."""
    config: Document | None = None
    """The config of the converted image, if layers have their files in another order; else it keeps its config."""

    def converted_manifest(self) -> ImageManifest:
        """Return the image manifest with new layers in place of those that were written anew."""
        if not any(part.recompressed for part in self.parts):
            return self.image.manifest
        layers = tuple(part.descriptor for part in self.parts)
        if self.config is not None:
            return reordered_manifest(self.image.manifest, layers, self.config.descriptor)
        return replace(self.image.manifest, layers=layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecipe:
    """How index manifests are made from layers."""

    settings: IndexSettings
    version: IndexVersion
    read_ztoc: ZtocReader
    marks_patterns: bool = False
    """Whether an index says what decided its prefetch even if that is patterns alone. The owner's indexes do not."""


def assemble_platform(
    source: ImageSource,
    image: PlatformImage,
    parts: Sequence[LayerPart],
    recipe: IndexRecipe,
    profile: UsedProfile | None = None,
) -> AssembledPlatform:
    """Make the index manifest of an image from its layers, which are in the image's order.

    A profile decides what is prefetched, beside the patterns of the settings. It must be for this platform.

    Raises:
        IntegrityError, SourceError: with a profile or patterns, a zTOC or a layer without one could not be read.
    """
    made = None
    if any(isinstance(part.outcome, LayerZtoc) for part in parts):
        made = _prefetch(source, parts, recipe, profile)
    whole = made.whole if made else {}
    artifacts = made.artifacts if made else {}
    final = [replace(part, outcome=whole.get(part.descriptor.digest, part.outcome)) for part in parts]
    return AssembledPlatform(
        image=image,
        parts=tuple(final),
        given=tuple(parts),
        index=_index_manifest(image, final, artifacts, recipe, _prefetch_source(recipe, profile)),
        artifacts=tuple(artifacts.values()),
        unmatched_prefetch=made.unmatched if made else recipe.settings.prefetch_patterns,
        profile=made.use if made else None,
        config=_reordered_config(source, image, parts),
    )


def _index_manifest(
    image: PlatformImage,
    parts: Sequence[LayerPart],
    artifacts: Mapping[Digest, Document],
    recipe: IndexRecipe,
    prefetch_source: Digest | None,
) -> Document | None:
    """Make the index manifest; None without a zTOC."""
    settings = recipe.settings
    ztocs = [describe_ztoc(part.outcome, settings) for part in parts if isinstance(part.outcome, LayerZtoc)]
    if not ztocs:
        return None
    prefetch = [
        replace(artifact.descriptor, annotations={SOCI_IMAGE_LAYER_DIGEST: str(part.descriptor.digest)})
        for part in parts
        if (artifact := artifacts.get(part.descriptor.digest))
    ]
    return encode_index_manifest(
        version=recipe.version,
        ztocs=ztocs,
        prefetch=prefetch,
        image_manifest=image.descriptor,
        settings=settings,
        prefetch_source=prefetch_source,
    )


def _prefetch_source(recipe: IndexRecipe, profile: UsedProfile | None) -> Digest | None:
    if profile is None and not recipe.marks_patterns:
        return None
    return prefetch_source_digest(recipe.settings, profile.digest if profile else None)


def _reordered_config(
    source: ImageSource, image: PlatformImage, parts: Sequence[LayerPart]
) -> Document | None:
    """Make the config with the diff IDs of reordered layers; None if there are none."""
    reordered = [part.recompressed.diff_id if part.recompressed else None for part in parts]
    if not any(reordered):
        return None
    config = image.manifest.config
    diff_ids = [
        new or old for new, old in zip(reordered, fetch_diff_ids(source, image.manifest), strict=True)
    ]
    data = replace_diff_ids(source.fetch_manifest(config), diff_ids, f"config {config.digest}")
    return document_of(config.media_type, data)


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
    source: ImageSource, parts: Sequence[LayerPart], recipe: IndexRecipe, profile: UsedProfile | None
) -> ImagePrefetch | None:
    """Plan what is prefetched; None if nothing asks for it.

    Layers left out are read, because they may hide or replace files.
    """
    if profile is None and not recipe.settings.prefetch_patterns:
        return None
    from soci.build.prefetch_artifacts import plan_image_prefetch  # noqa: PLC0415 - most images need none of it

    tables = [_tables_of(source, part, recipe.read_ztoc) for part in parts]
    return plan_image_prefetch(tables, recipe.settings, profile)


def _tables_of(source: ImageSource, part: LayerPart, read_ztoc: ZtocReader) -> LayerTables:
    from soci.build.prefetch_artifacts import LayerTables  # noqa: PLC0415

    if isinstance(part.outcome, LeftOut):
        entries = contents_if_readable(source, part.descriptor, part.outcome).entries
        return LayerTables(descriptor=part.descriptor, entries=entries)
    ztoc = read_ztoc(part.outcome.ztoc)
    return LayerTables(
        descriptor=part.descriptor,
        entries=tuple(decode_files(ztoc)),
        ztoc_bytes=part.outcome.ztoc.size,
        spans=decode_compression_info(ztoc).spans,
        is_recompressed=part.recompressed is not None,
    )


def contents_if_readable(source: ImageSource, layer: Descriptor, left_out: LeftOut) -> LayerContents:
    """Return the files of a layer without a zTOC; none for a layer that cannot be read (foreign, encrypted, no tar).

    A prefetch is a hint: if such a layer hides a file, at worst some spans are fetched for nothing.
    """
    if left_out.reason in _NO_TAR:
        return LayerContents(entries=(), left_out=left_out)
    try:
        return contents_of_layer(source, layer)
    except BlobMissing:
        return LayerContents(entries=(), left_out=left_out)
