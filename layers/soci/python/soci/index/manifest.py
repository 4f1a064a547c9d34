"""The SOCI index manifest: which zTOC belongs to which layer (formats.md 5).

schemaVersion, mediaType   of an OCI image manifest, without artifactType at the top
config                     media type of index version 1 or 2, the two bytes {}
layers                     a zTOC per indexed layer, in the image's order, then prefetch artifacts
subject                    version 1 only: the image manifest
annotations                the build tool, and what decided the prefetch; nothing that changes from run to run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.errors import InvalidDocument
from soci.index.document import Document, document_of
from soci.oci import media_types
from soci.oci.annotations import (
    PREFETCH_SOURCE,
    SOCI_BUILD_TOOL_IDENTIFIER,
    SOCI_DISABLE_XATTRS,
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_IMAGE_LAYER_MEDIA_TYPE,
    SOCI_SPAN_SIZE,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.settings import IndexSettings, IndexVersion, Optimization

CONFIG_MEDIA_TYPES = {
    IndexVersion.V1: media_types.SOCI_INDEX_V1,
    IndexVersion.V2: media_types.SOCI_INDEX_V2,
}

EMPTY_CONFIG = document_of(media_types.OCI_EMPTY, b"{}")
"""The config blob of every SOCI index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerZtoc:
    """A layer and its zTOC, as the index manifest describes them."""

    layer: Descriptor
    ztoc: Descriptor
    needs_xattrs: bool


def describe_ztoc(indexed: LayerZtoc, settings: IndexSettings) -> Descriptor:
    """Return the entry of a zTOC in the index manifest."""
    entry_annotations = {
        SOCI_IMAGE_LAYER_DIGEST: str(indexed.layer.digest),
        SOCI_IMAGE_LAYER_MEDIA_TYPE: indexed.layer.media_type,
        SOCI_SPAN_SIZE: str(settings.span_size_bytes),
    }
    if Optimization.XATTR in settings.optimizations and not indexed.needs_xattrs:
        entry_annotations[SOCI_DISABLE_XATTRS] = "true"
    return replace(indexed.ztoc, media_type=media_types.ZTOC, annotations=entry_annotations)


def encode_index_manifest(
    *,
    version: IndexVersion,
    ztocs: Sequence[Descriptor],
    prefetch: Sequence[Descriptor],
    image_manifest: Descriptor,
    settings: IndexSettings,
    prefetch_source: Digest | None = None,
) -> Document:
    """Return the index manifest of one image manifest; `ztocs` must not be empty.

    `prefetch_source` says what decided the prefetch artifacts, where it was not only what the owner's command knows.
    """
    subject = Descriptor(
        media_type=image_manifest.media_type, digest=image_manifest.digest, size=image_manifest.size
    )
    source = {} if prefetch_source is None else {PREFETCH_SOURCE: str(prefetch_source)}
    manifest = ImageManifest(
        config=replace(EMPTY_CONFIG.descriptor, media_type=CONFIG_MEDIA_TYPES[version]),
        layers=(*ztocs, *prefetch),
        subject=subject if version is IndexVersion.V1 else None,
        annotations={SOCI_BUILD_TOOL_IDENTIFIER: settings.build_tool_identifier} | source,
    )
    data = manifest.encode()
    check_round_trip(data)
    return document_of(media_types.OCI_MANIFEST, data, artifact_type=CONFIG_MEDIA_TYPES[version])


def check_round_trip(data: bytes) -> ImageManifest:
    """Return the parsed index manifest if the reader would store these very bytes again (formats.md 8.2).

    The reader parses the document, writes its own serialization and looks for the digest it asked for: any
    difference, a space even, and the image is not loaded lazily.

    Raises:
        InvalidDocument: the bytes change, there is an artifactType at the top, or the config is not a SOCI index's.
    """
    manifest = ImageManifest.parse(data, "SOCI index manifest")
    if manifest.artifact_type:
        raise InvalidDocument("SOCI index manifest: artifactType at the top, which the reader drops")
    if not media_types.is_soci_config(manifest.config.media_type):
        raise InvalidDocument(f"SOCI index manifest: config media type is {manifest.config.media_type!r}")
    if manifest.encode() != data:
        raise InvalidDocument("SOCI index manifest: decoding and encoding it changes its bytes")
    return manifest
