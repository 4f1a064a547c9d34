"""What some content is, by its documents.

    classify, classify_manifest   an image, a SOCI index, an attestation, or another artifact
    is_soci_index                 an entry of an image index: the SOCI index of a conversion?
    is_converted                  an image: does it name a SOCI index?
    has_own_index                 an image in its place: does it name a SOCI index that exists?

Tags and names say nothing: whoever pushes chooses them. What this software pushes is always recognised, so its own
pushes never lead to more work.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from soci.errors import MISSING_OR_CORRUPT
from soci.image.documents import Image, Limits
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import DescriptorSource, ImageSource

ATTESTATION_LAYER = "application/vnd.in-toto+json"
"""The media type of an attestation's layers. Its config has the media type of an image's."""


LIMITS = Limits(manifests=200, size_bytes=32 << 20)
"""For images that are only looked at. As Python's objects, manifests take several times their size."""


class Content(Enum):
    """The kinds of manifests and image indexes."""

    IMAGE = auto()
    """An image or an index of several, converted or not."""
    SOCI_INDEX = auto()
    """The index manifest of a SOCI index, of either version."""
    ATTESTATION = auto()
    ARTIFACT = auto()
    """A chart, a signature, a WebAssembly module, ...: no container starts from its layers."""


def classify(root: Descriptor, data: bytes) -> Content:
    """Return the kind of a manifest or index. Raises `InvalidDocument` when it does not parse."""
    what = f"manifest {root.digest}"
    if media_types.is_index(root.media_type):
        return Content.ARTIFACT if ImageIndex.parse(data, what).artifact_type else Content.IMAGE
    return classify_manifest(ImageManifest.parse(data, what))


def classify_manifest(manifest: ImageManifest) -> Content:
    """Return the kind of a manifest."""
    layers = manifest.layers or ()
    if media_types.is_soci_config(manifest.config.media_type) or media_types.is_soci_config(
        manifest.artifact_type
    ):
        return Content.SOCI_INDEX
    if any(layer.media_type == ATTESTATION_LAYER for layer in layers):
        return Content.ATTESTATION
    if manifest.artifact_type or not media_types.is_config(manifest.config.media_type):
        return Content.ARTIFACT
    # Signatures and modules may have the config type of an image.
    has_file_system = not layers or any(media_types.is_layer(layer.media_type) for layer in layers)
    return Content.IMAGE if has_file_system else Content.ARTIFACT


def is_soci_index(entry: Descriptor) -> bool:
    """Tell whether an entry of an image index is the SOCI index of an earlier conversion.

    Tools that do not know the artifact type of entries (skopeo 1.9) drop it when they copy an index.
    """
    return entry.artifact_type == media_types.SOCI_INDEX_V2 or SOCI_IMAGE_MANIFEST_DIGEST in entry.annotations


def is_converted(image: Image) -> bool:
    """Tell whether an image names a SOCI index of version 2, as converted images do.

    Anyone can write that: `has_own_index` tells whether the index is there.
    """
    return bool(_named_indexes(image))


def has_own_index(image: Image, source: ImageSource) -> bool:
    """Tell whether an image is converted and its SOCI index is in the source.

    Tools that copy one manifest of an image to another place leave the index behind. An image that names more indexes
    than `LIMITS` allows counts as having its own. It is better to skip a stranger's image than to index our own
    output again and again.

    Raises `SourceError` when the source cannot be read.
    """
    named = _named_indexes(image)
    if not isinstance(source, DescriptorSource):
        return bool(named)
    size_bytes = 0
    for number, digest in enumerate(named):
        if number == LIMITS.manifests:
            return True
        try:
            found = source.fetch_descriptor(Digest.parse(digest))
            size_bytes += found.size
            if size_bytes > LIMITS.size_bytes:
                return True
            if classify(found, source.fetch_manifest(found)) is Content.SOCI_INDEX:
                return True
        except MISSING_OR_CORRUPT:
            continue
    return False


def _named_indexes(image: Image) -> Collection[str]:
    """Return the SOCI indexes that an image names, by entries and by annotations, each once."""
    entries = (image.index.manifests if image.index else None) or ()
    annotated = (*(one.manifest.annotations for one in image.images), *(one.annotations for one in entries))
    named = (one[SOCI_INDEX_DIGEST] for one in annotated if SOCI_INDEX_DIGEST in one)
    return dict.fromkeys((*(str(entry.digest) for entry in entries if is_soci_index(entry)), *named))
