"""The converted image of index version 2: the same layers under new documents (formats.md 6).

Each image manifest names its SOCI index in an annotation. Each SOCI index becomes an entry of the image index, and
names its image manifest in an annotation. Only image manifests are rewritten: attestations and other artifacts keep
their bytes, and their entries follow the image manifest that they name (docs/adr/0003, 0004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from soci.index.classify import is_soci_index
from soci.index.document import Document, document_of
from soci.oci import media_types
from soci.oci.annotations import DOCKER_REFERENCE_DIGEST, SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformIndex:
    """The SOCI index made for one image manifest, and the platform that was asked for."""

    image_manifest: Digest
    platform: Platform
    index: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedImage:
    """The documents of a converted image: rewritten image manifests, then the index, which is its root."""

    manifests: tuple[Document, ...]
    root: Document


def convert_image(
    image: ImageIndex, manifests: Mapping[Digest, ImageManifest], indexes: Sequence[PlatformIndex]
) -> ConvertedImage:
    """Return the documents of the converted image.

    Args:
        image: the image index; for a single image one with one entry (`index_of_single`).
        manifests: the fetched image manifests among its entries.
        indexes: the new SOCI indexes, in the order of the platforms asked for.
    """
    index_digests = {made.image_manifest: str(made.index.descriptor.digest) for made in indexes}
    rewritten: dict[Digest, Document] = {}
    entries: list[Descriptor] = []
    for entry in image.manifests or ():
        manifest = manifests.get(entry.digest)
        if manifest is None:
            entries.append(entry)
            continue
        document, annotations = _rewrite(manifest, index_digests.get(entry.digest))
        rewritten[entry.digest] = document
        entries.append(
            replace(
                entry,
                media_type=media_types.OCI_MANIFEST,
                digest=document.descriptor.digest,
                size=document.descriptor.size,
                annotations=annotations,
            )
        )
    new_digests = {str(old): str(document.descriptor.digest) for old, document in rewritten.items()}
    entries = [follow_manifests(entry, new_digests) for entry in entries]
    for made in indexes:
        _put(entries, _index_entry(made, rewritten[made.image_manifest].descriptor.digest))
    root = replace(image, media_type=media_types.OCI_INDEX, manifests=tuple(entries))
    return ConvertedImage(
        manifests=tuple(rewritten.values()), root=document_of(media_types.OCI_INDEX, root.encode())
    )


def index_of_single(manifest: Descriptor, platform: Platform) -> ImageIndex:
    """Return the index with which the conversion of a single image manifest starts."""
    entry = Descriptor(
        media_type=manifest.media_type, digest=manifest.digest, size=manifest.size, platform=platform
    )
    return ImageIndex(manifests=(entry,))


def _rewrite(manifest: ImageManifest, index_digest: str | None) -> tuple[Document, Mapping[str, str]]:
    annotations = dict(manifest.annotations)
    if index_digest is not None:
        annotations[SOCI_INDEX_DIGEST] = index_digest
    manifest = replace(
        manifest,
        media_type=media_types.OCI_MANIFEST,
        config=replace(manifest.config, media_type=media_types.OCI_CONFIG),
        annotations=annotations,
    )
    return document_of(media_types.OCI_MANIFEST, manifest.encode()), annotations


def follow_manifests(entry: Descriptor, new_digests: Mapping[str, str]) -> Descriptor:
    """Replace the old image manifest's digest in an entry: an attestation, or an earlier SOCI index."""
    annotations = dict(entry.annotations)
    for key in (DOCKER_REFERENCE_DIGEST, SOCI_IMAGE_MANIFEST_DIGEST):
        if annotations.get(key) in new_digests:
            annotations[key] = new_digests[annotations[key]]
    return replace(entry, annotations=annotations)


def _index_entry(made: PlatformIndex, image_manifest: Digest) -> Descriptor:
    return replace(
        made.index.descriptor,
        annotations={SOCI_IMAGE_MANIFEST_DIGEST: str(image_manifest)},
        platform=made.platform,
        artifact_type=media_types.SOCI_INDEX_V2,
    )


def _put(entries: list[Descriptor], new: Descriptor) -> None:
    """Replace the SOCI index of the same platform, or append."""
    for number, entry in enumerate(entries):
        if is_soci_index(entry) and entry.platform and new.platform and entry.platform.matches(new.platform):
            entries[number] = new
            return
    entries.append(new)
