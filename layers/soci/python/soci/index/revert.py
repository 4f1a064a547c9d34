"""The reverse of the conversion: the documents of a converted image without its index. Pure."""

from __future__ import annotations

from dataclasses import replace

from soci.image.documents import Image
from soci.index.classify import is_soci_index
from soci.index.convert import follow_manifests
from soci.index.document import Document, document_of
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest


def strip_index(image: Image) -> tuple[Document, ...]:
    """Return the documents of a converted image without its index: image manifests, then the root.

    Manifests that name no index keep their bytes and are not returned.
    """
    stripped = {
        one.descriptor.digest: manifest_without_index(one.manifest)
        for one in image.images
        if SOCI_INDEX_DIGEST in one.manifest.annotations
    }
    if image.index is None:
        return tuple(stripped.values())
    new_digests = {str(old): str(document.descriptor.digest) for old, document in stripped.items()}
    entries = tuple(
        follow_manifests(_stripped_entry(entry, stripped.get(entry.digest)), new_digests)
        for entry in image.index.manifests or ()
        if not is_soci_index(entry)
    )
    root = replace(image.index, manifests=entries).encode()
    return (*stripped.values(), document_of(image.root.media_type, root))


def manifest_without_index(manifest: ImageManifest) -> Document:
    """Return an image manifest as it was before it named an index, if its bytes were as we write them."""
    annotations = {key: value for key, value in manifest.annotations.items() if key != SOCI_INDEX_DIGEST}
    media_type = manifest.media_type or media_types.OCI_MANIFEST
    return document_of(media_type, replace(manifest, annotations=annotations).encode())


def _stripped_entry(entry: Descriptor, document: Document | None) -> Descriptor:
    annotations = {key: value for key, value in entry.annotations.items() if key != SOCI_INDEX_DIGEST}
    if document is None:
        return replace(entry, annotations=annotations)
    new = document.descriptor
    return replace(entry, digest=new.digest, size=new.size, annotations=annotations)
