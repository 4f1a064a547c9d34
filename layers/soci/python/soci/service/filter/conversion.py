"""Whether a SOCI-enabled image was made of an image, with any settings."""

from __future__ import annotations

from dataclasses import replace

from soci.errors import MISSING_OR_CORRUPT
from soci.image.documents import Image, Platforms, choose_images, fetch_image
from soci.index.classify import LIMITS
from soci.index.convert import PlatformIndex
from soci.index.original import is_reordered, original_config, reordered_manifest
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.places.ports import ImageSource
from soci.service.filter.up_to_date import (
    converted_root,
    fetch_named_index,
    find_counterpart,
)


def is_conversion_of(output: ImageSource, image: Image) -> bool:
    """Tell whether a place holds the SOCI-enabled image of all platforms of an image, made with any settings.

    Raises `SourceError` when the place cannot be read.
    """
    try:
        converted = fetch_image(output, limits=LIMITS)
        manifests = {one.descriptor.digest: one.manifest for one in image.images}
        indexes = []
        for one in choose_images(image, Platforms.ALL):
            counterpart = find_counterpart(one, converted)
            if counterpart is None or not is_same_content(one.manifest, counterpart.manifest):
                return False
            if SOCI_INDEX_DIGEST not in counterpart.manifest.annotations:
                continue
            index = fetch_named_index(output, converted, counterpart)
            if index is None:
                return False
            digest = one.descriptor.digest
            manifests[digest] = _manifest_of(one.manifest, counterpart.manifest)
            indexes.append(PlatformIndex(image_manifest=digest, platform=one.platform, index=index))
        order = [entry.digest for entry in (converted.index.manifests if converted.index else None) or ()]
        indexes.sort(
            key=lambda made: order.index(made.index.descriptor.digest)
        )  # the order of the conversion
        return bool(indexes) and converted_root(image, manifests, indexes) == converted.root.digest
    except MISSING_OR_CORRUPT:
        return False


def is_same_content(original: ImageManifest, converted: ImageManifest) -> bool:
    """Tell whether a manifest was made of another one, with the same layers.

    A zstd layer may have been recompressed, and layers may have their files in another order. The content of such
    layers is not compared.
    """
    wanted, there = original.layers or (), converted.layers or ()
    return (
        original.config.digest == original_config(converted)
        and len(wanted) == len(there)
        and all(
            layer.digest == other.digest
            or _is_recompressed(layer, other)
            or (is_reordered(converted) and other.media_type == media_types.as_gzip(layer.media_type))
            for layer, other in zip(wanted, there, strict=True)
        )
    )


def _manifest_of(original: ImageManifest, converted: ImageManifest) -> ImageManifest:
    """Return the original with what the conversion put in place of its layers and its config."""
    if is_reordered(converted):
        return reordered_manifest(original, converted.layers or (), converted.config)
    return replace(original, layers=converted.layers)


def _is_recompressed(layer: Descriptor, other: Descriptor) -> bool:
    is_zstd = media_types.compression_of(layer.media_type) is Compression.ZSTD
    return is_zstd and other.media_type == media_types.as_gzip(layer.media_type)
