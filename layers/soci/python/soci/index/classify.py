"""What some content is, told from its documents: an image, what indexing made, or something else.

Tags and names tell nothing here: who pushes what decides them. What this software pushes is always recognised, so its
own pushes never lead to more work.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, Limits
from soci.index.convert import is_soci_index
from soci.index.revert import is_converted
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import DescriptorSource, ImageSource

ATTESTATION_LAYER = "application/vnd.in-toto+json"
"""What the layers of an attestation manifest are; its config claims to be that of an image."""


LIMITS = Limits(manifests=200, size_bytes=32 << 20)
"""Of an image that is looked at; as Python's objects, manifests take several times their size."""


class Content(Enum):
    """What a manifest or image index is."""

    IMAGE = auto()
    """An image or an index of several, SOCI-enabled or not."""
    SOCI_INDEX = auto()
    """The index manifest of a SOCI index, of either version."""
    ATTESTATION = auto()
    ARTIFACT = auto()
    """A chart, a signature, a WebAssembly module, ...: nothing that a container starts from by its layers."""


def recognise(root: Descriptor, data: bytes) -> Content:
    """Tell what a manifest or index is. Raises `InvalidDocument` when it does not parse."""
    what = f"manifest {root.digest}"
    if media_types.is_index(root.media_type):
        return Content.ARTIFACT if ImageIndex.parse(data, what).artifact_type else Content.IMAGE
    return recognise_manifest(ImageManifest.parse(data, what))


def recognise_manifest(manifest: ImageManifest) -> Content:
    """Tell what a manifest is."""
    layers = manifest.layers or ()
    if media_types.is_soci_config(manifest.config.media_type) or media_types.is_soci_config(
        manifest.artifact_type
    ):
        return Content.SOCI_INDEX
    if any(layer.media_type == ATTESTATION_LAYER for layer in layers):
        return Content.ATTESTATION
    if manifest.artifact_type or not media_types.is_config(manifest.config.media_type):
        return Content.ARTIFACT
    # Signatures and modules may come under the config type of an image.
    has_file_system = not layers or any(media_types.is_layer(layer.media_type) for layer in layers)
    return Content.IMAGE if has_file_system else Content.ARTIFACT


def has_own_index(image: Image, source: ImageSource) -> bool:
    """Tell whether an image is SOCI-enabled and its index is there, as it is whenever indexing made the image.

    Entries and annotations only say where to look: anyone can write them, and tools that copy one manifest of an
    image to another place leave the index behind. Where there are more than `LIMITS` allows, the image counts as
    made here: to skip a stranger's is better than to index one's own for ever.

    Raises `SourceError` when the place cannot be asked.
    """
    claimed = _claimed_indexes(image)
    if not isinstance(source, DescriptorSource):
        return bool(claimed)  # as the image says
    size_bytes = 0
    for number, digest in enumerate(claimed):
        if number == LIMITS.manifests:
            return True
        try:
            found = source.fetch_descriptor(Digest.parse(digest))
            size_bytes += found.size
            if size_bytes > LIMITS.size_bytes:
                return True
            if recognise(found, source.fetch_manifest(found)) is Content.SOCI_INDEX:
                return True
        except (NotInImage, BlobMissing, IntegrityError):
            continue
    return False


def _claimed_indexes(image: Image) -> Collection[str]:
    """Return what an image calls its SOCI indexes, by entries and by annotations, each once."""
    entries = (image.index.manifests if image.index else None) or ()
    annotated = (*(one.manifest.annotations for one in image.images), *(one.annotations for one in entries))
    named = (one[SOCI_INDEX_DIGEST] for one in annotated if SOCI_INDEX_DIGEST in one)
    return dict.fromkeys((*(str(entry.digest) for entry in entries if is_soci_index(entry)), *named))


def is_soci_enabled(image: Image) -> bool:
    """Tell whether an image has a SOCI index of version 2: an entry, or an annotation that names one."""
    entries = (image.index.manifests if image.index else None) or ()
    return is_converted(image) or any(SOCI_INDEX_DIGEST in entry.annotations for entry in entries)
