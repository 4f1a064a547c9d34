"""Whether an image has an index already that was made with the same settings. Nothing of a layer is read for that.

Version 2: the documents of the SOCI-enabled image are made once more from the image and the SOCI indexes that are
there. Only if the very same root comes out does the tag name the conversion of this very image, attestations and all.
Version 1: one of the manifest's referrers will do.

Each SOCI index has to say that the settings made it: build tool, span size, and a zTOC for exactly the layers that are
planned, in their order. What a manifest does not tell counts as different if it changes what a container reads, and
indexing again does no harm: the same bytes come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from soci.build.plan import PlannedLayer
from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, choose_images, fetch_image
from soci.index.classify import LIMITS
from soci.index.convert import PlatformIndex, convert_image, index_of_single
from soci.index.document import Document
from soci.index.manifest import CONFIG_MEDIA_TYPES
from soci.oci import media_types
from soci.oci.annotations import (
    SOCI_BUILD_TOOL_IDENTIFIER,
    SOCI_DISABLE_XATTRS,
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_IMAGE_LAYER_MEDIA_TYPE,
    SOCI_INDEX_DIGEST,
    SOCI_SPAN_SIZE,
)
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.places.ports import ImageSource, ReferrerSource
from soci.reasons import LeftOut
from soci.settings import IndexSettings, IndexVersion, Optimization

_NOT_AS_IT_SHOULD_BE = (NotInImage, BlobMissing, IntegrityError)
"""What a place says of documents that are missing or broken. All else (no answer, no access) is an error here too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One platform's image that is to be indexed, with a decision for each of its layers."""

    image: PlatformImage
    layers: tuple[PlannedLayer, ...]


def has_v2(
    output: ImageSource, image: Image, planned: Sequence[PlannedImage], settings: IndexSettings
) -> bool:
    """Tell whether a place holds the SOCI-enabled image that would be made of an image.

    Raises `SourceError` when the place cannot be asked.
    """
    try:
        return _is_conversion(output, image, planned, settings)
    except _NOT_AS_IT_SHOULD_BE:
        return False


def has_v1(source: ImageSource, planned: Sequence[PlannedImage], settings: IndexSettings) -> bool:
    """Tell whether each planned image has an index of version 1 that refers to it.

    Zstd layers do not count: version 1 leaves an image as it is. Raises `SourceError` when the place cannot be asked.
    """
    return all(_has_referrer(source, one, settings) for one in planned)


def is_conversion_of(output: ImageSource, image: Image) -> bool:
    """Tell whether a place holds a SOCI-enabled image of this very image, whole, with whatever settings it was made.

    Raises `SourceError` when the place cannot be asked.
    """
    try:
        converted = fetch_image(output, limits=LIMITS)
        manifests = {one.descriptor.digest: one.manifest for one in image.images}
        indexes = []
        for one in choose_images(image, Platforms.ALL):
            twin = _find_twin(one, converted)
            if twin is None or not is_same_content(one.manifest, twin.manifest):
                return False
            if SOCI_INDEX_DIGEST not in twin.manifest.annotations:
                continue
            index = _fetch_named_index(output, converted, twin)
            if index is None:
                return False
            digest = one.descriptor.digest
            manifests[digest] = replace(one.manifest, layers=twin.manifest.layers)
            indexes.append(PlatformIndex(image_manifest=digest, platform=one.platform, index=index))
        order = [entry.digest for entry in (converted.index.manifests if converted.index else None) or ()]
        indexes.sort(key=lambda made: order.index(made.index.descriptor.digest))  # as they were asked for
        return bool(indexes) and _remake_root(image, manifests, indexes) == converted.root.digest
    except _NOT_AS_IT_SHOULD_BE:
        return False


def is_same_content(original: ImageManifest, converted: ImageManifest) -> bool:
    """Tell whether a manifest has the config and layers of another one; gzip copies may stand for zstd layers."""
    wanted, there = original.layers or (), converted.layers or ()
    return (
        original.config.digest == converted.config.digest
        and len(wanted) == len(there)
        and all(
            layer.digest == other.digest or _is_gzip_copy(layer, other)
            for layer, other in zip(wanted, there, strict=True)
        )
    )


def _is_gzip_copy(layer: Descriptor, copy: Descriptor) -> bool:
    is_zstd = media_types.compression_of(layer.media_type) is Compression.ZSTD
    return is_zstd and copy.media_type == media_types.as_gzip(layer.media_type)


def _is_conversion(
    output: ImageSource, image: Image, planned: Sequence[PlannedImage], settings: IndexSettings
) -> bool:
    converted = fetch_image(output, limits=LIMITS)
    manifests = {one.descriptor.digest: one.manifest for one in image.images}
    indexes = []
    for one in planned:
        twin = _find_twin(one.image, converted)
        layers = _layers_in(one, twin) if twin else None
        index = _fetch_named_index(output, converted, twin) if twin else None
        if (
            layers is None
            or index is None
            or not _is_as_planned(index.data, layers, settings, IndexVersion.V2)
        ):
            return False
        digest = one.image.descriptor.digest
        manifests[digest] = replace(one.image.manifest, layers=tuple(layer for layer, _ in layers))
        indexes.append(PlatformIndex(image_manifest=digest, platform=one.image.platform, index=index))
    return _remake_root(image, manifests, indexes) == converted.root.digest


def _remake_root(
    image: Image, manifests: Mapping[Digest, ImageManifest], indexes: Sequence[PlatformIndex]
) -> Digest:
    base = image.index or index_of_single(image.root, image.images[0].platform)
    return convert_image(base, manifests, indexes).root.descriptor.digest


def _find_twin(one: PlatformImage, converted: Image) -> PlatformImage | None:
    """Find the image of the same platform and config in a SOCI-enabled image."""
    return next(
        (
            other
            for other in converted.images
            if other.manifest.config.digest == one.manifest.config.digest
            and other.platform.matches(one.platform)
        ),
        None,
    )


def _layers_in(one: PlannedImage, twin: PlatformImage) -> list[tuple[Descriptor, bool]] | None:
    """Return the layers that the conversion has to have, and which of them are to be indexed.

    A gzip copy of a zstd layer is taken as it is: its tar was compared with the config when it was made.
    """
    there = twin.manifest.layers or ()
    if len(there) != len(one.layers):
        return None
    found = []
    for planned, layer in zip(one.layers, there, strict=True):
        is_planned = not isinstance(planned.decision, LeftOut)
        is_copy = planned.is_recompressed
        if is_copy and layer.media_type != media_types.as_gzip(planned.descriptor.media_type):
            return None
        found.append((layer if is_copy else planned.descriptor, is_planned))
    return found


def _fetch_named_index(output: ImageSource, converted: Image, twin: PlatformImage) -> Document | None:
    """Fetch the SOCI index that an image manifest names."""
    named = Digest.parse(twin.manifest.annotations.get(SOCI_INDEX_DIGEST, ""))
    entries = (converted.index.manifests if converted.index else None) or ()
    entry = next((entry for entry in entries if entry.digest == named), None)
    if entry is None:
        return None
    plain = Descriptor(
        media_type=entry.media_type,
        digest=entry.digest,
        size=entry.size,
        artifact_type=CONFIG_MEDIA_TYPES[IndexVersion.V2],
    )
    return Document(descriptor=plain, data=output.fetch_manifest(entry))


def _has_referrer(source: ImageSource, one: PlannedImage, settings: IndexSettings) -> bool:
    layers = [
        (planned.descriptor, not (isinstance(planned.decision, LeftOut) or planned.is_recompressed))
        for planned in one.layers
    ]
    if not any(is_planned for _, is_planned in layers):
        return True
    if not isinstance(source, ReferrerSource):
        return False
    referrers = source.fetch_referrers(one.image.descriptor.digest, media_types.SOCI_INDEX_V1)
    return any(
        _is_as_planned(data, layers, settings, IndexVersion.V1)
        for data in _fetch_those_there(source, referrers)
    )


def _fetch_those_there(source: ImageSource, documents: Sequence[Descriptor]) -> Iterator[bytes]:
    for document in documents:
        try:
            yield source.fetch_manifest(document)
        except _NOT_AS_IT_SHOULD_BE:
            continue


def _is_as_planned(
    data: bytes, layers: Sequence[tuple[Descriptor, bool]], settings: IndexSettings, version: IndexVersion
) -> bool:
    """Tell whether an index manifest was made with the settings and has a zTOC for each planned layer, no other."""
    try:
        index = ImageManifest.parse(data, "SOCI index")
    except IntegrityError:
        return False
    entries = index.layers or ()
    ztocs = [entry for entry in entries if entry.media_type == media_types.ZTOC]
    disables_xattrs = any(SOCI_DISABLE_XATTRS in entry.annotations for entry in ztocs)
    span_size = str(settings.span_size_bytes)
    expected = [
        (str(layer.digest), layer.media_type, span_size) for layer, is_planned in layers if is_planned
    ]
    return (
        index.config.media_type == CONFIG_MEDIA_TYPES[version]
        and index.annotations.get(SOCI_BUILD_TOOL_IDENTIFIER) == settings.build_tool_identifier
        and [_facts_of(entry.annotations) for entry in ztocs] == expected
        and disables_xattrs is (Optimization.XATTR in settings.optimizations)
        # Which files were asked for does not show, so an index with prefetch artifacts is made again.
        and len(ztocs) == len(entries)
        and not settings.prefetch_patterns
    )


def _facts_of(annotations: Mapping[str, str]) -> tuple[str | None, ...]:
    keys = (SOCI_IMAGE_LAYER_DIGEST, SOCI_IMAGE_LAYER_MEDIA_TYPE, SOCI_SPAN_SIZE)
    return tuple(map(annotations.get, keys))
