"""Taking an index away and leaving the image: the way back when an index misbehaves.

    version 1    the index manifests that name an image manifest as subject go
    version 2    of an image beside its SOCI-enabled copy (`-soci`): the copy goes
                 of an image that is SOCI-enabled itself: the same layers under documents without the index take
                 its place under the tag, then the old documents go

What goes is recognised by content. Documents that anything else of the image refers to stay, and so do layers, configs
and attestations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from soci.errors import NotInImage
from soci.fetch import Image, fetch_image
from soci.index.convert import follow_manifests, is_soci_index
from soci.index.documents import Document, document_of
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.ports import ImageSource, ImageStore, ReferrerSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes and what takes its place; nothing is changed yet."""

    manifests: tuple[Descriptor, ...]
    """In the order in which they may go: what refers to others goes before them."""
    blobs: tuple[Descriptor, ...]
    """zTOCs, prefetch artifacts, gzip copies; whether anything else needs them shows when they are removed."""
    replacement: tuple[Document, ...] = ()
    """Documents of the image without its index, the root last; empty where the image itself stays as it is."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no index to remove."""
        return not self.manifests


def fetch_removal(source: ImageSource, image: Image, converted: ImageSource | None) -> Removal:
    """Find what belongs to the indexes of an image.

    `converted` is the place of its SOCI-enabled copy, if there may be one; a copy of another image is left alone.

    Raises:
        SourceError, IntegrityError: a document could not be read.
    """
    version_1 = tuple(_fetch_referrers(source, image))
    if is_converted(image):
        stripped = strip_index(image)
        kept = {document.descriptor.digest for document in stripped}
        version_2 = [entry for entry in _converted_manifests(image) if entry.digest not in kept]
        manifests = (*version_2, *version_1)
        return Removal(
            manifests=manifests, blobs=tuple(_fetch_blobs(source, image, manifests)), replacement=stripped
        )
    kept = {
        image.root.digest,
        *(entry.digest for entry in (image.index.manifests if image.index else None) or ()),
    }
    version_2 = [] if converted is None else _fetch_copy(converted, image)
    manifests = (*(entry for entry in version_2 if entry.digest not in kept), *version_1)
    return Removal(manifests=manifests, blobs=tuple(_fetch_blobs(source, image, manifests)))


def remove_index(store: ImageStore, removal: Removal, *, tag: str | None) -> int:
    """Carry a removal out; the image's replacement is published before anything goes.

    Returns how many blobs were freed; a registry frees them by itself, later.

    Raises:
        SourceError: the place does not delete, or could not be written; what is gone by then stays gone, and the
            same call again goes on.
    """
    for document in removal.replacement:
        store.push_manifest(document.descriptor, document.data)
    if removal.replacement:
        store.push_root(removal.replacement[-1].descriptor, tag)
    for manifest in removal.manifests:
        store.delete_manifest(manifest.digest)
    return store.delete_blobs([blob.digest for blob in (*removal.manifests, *removal.blobs)])


def strip_index(image: Image) -> tuple[Document, ...]:
    """Return the documents of a SOCI-enabled image without its index: image manifests, then the root."""
    if image.index is None:
        return (_without_index(image.images[0].manifest),)
    stripped = {one.descriptor.digest: _without_index(one.manifest) for one in image.images}
    new_digests = {str(old): str(document.descriptor.digest) for old, document in stripped.items()}
    entries = tuple(
        follow_manifests(_stripped_entry(entry, stripped.get(entry.digest)), new_digests)
        for entry in image.index.manifests or ()
        if not is_soci_index(entry)
    )
    root = replace(image.index, manifests=entries).encode()
    return (*stripped.values(), document_of(media_types.OCI_INDEX, root))


def _without_index(manifest: ImageManifest) -> Document:
    annotations = {key: value for key, value in manifest.annotations.items() if key != SOCI_INDEX_DIGEST}
    return document_of(manifest.media_type, replace(manifest, annotations=annotations).encode())


def _stripped_entry(entry: Descriptor, document: Document | None) -> Descriptor:
    annotations = {key: value for key, value in entry.annotations.items() if key != SOCI_INDEX_DIGEST}
    if document is None:
        return replace(entry, annotations=annotations)
    new = document.descriptor
    return replace(entry, digest=new.digest, size=new.size, annotations=annotations)


def is_converted(image: Image) -> bool:
    """Tell by its content whether an image is SOCI-enabled, by this tool or another."""
    entries = (image.index.manifests if image.index else None) or ()
    return any(map(is_soci_index, entries)) or any(
        SOCI_INDEX_DIGEST in one.manifest.annotations for one in image.images
    )


def _converted_manifests(image: Image) -> Iterator[Descriptor]:
    """Yield the documents that only the index made necessary: root, image manifests, SOCI indexes."""
    yield image.root
    for one in image.images:
        if SOCI_INDEX_DIGEST in one.manifest.annotations and one.descriptor.digest != image.root.digest:
            yield one.descriptor
    yield from filter(is_soci_index, (image.index.manifests if image.index else None) or ())


def _fetch_copy(converted: ImageSource, image: Image) -> list[Descriptor]:
    """Return the documents of the SOCI-enabled copy, if that is what lies there."""
    try:
        copy = fetch_image(converted)
    except NotInImage:
        return []
    configs = {one.manifest.config.digest for one in image.images}
    is_copy = all(one.manifest.config.digest in configs for one in copy.images)
    return list(_converted_manifests(copy)) if is_copy and is_converted(copy) else []


def _fetch_referrers(source: ImageSource, image: Image) -> Iterator[Descriptor]:
    if isinstance(source, ReferrerSource):
        for one in image.images:
            yield from source.fetch_referrers(one.descriptor.digest, media_types.SOCI_INDEX_V1)


def _fetch_blobs(source: ImageSource, image: Image, manifests: Sequence[Descriptor]) -> Iterator[Descriptor]:
    """Yield what some manifests list and the image does not: zTOCs, prefetch artifacts, gzip copies; each once."""
    seen = {
        blob.digest for one in image.images for blob in (one.manifest.config, *(one.manifest.layers or ()))
    }
    for descriptor in manifests:
        if media_types.is_index(descriptor.media_type):
            continue
        manifest = ImageManifest.parse(source.fetch_manifest(descriptor), f"manifest {descriptor.digest}")
        for blob in (*(manifest.layers or ()), manifest.config):
            if blob.digest not in seen:
                seen.add(blob.digest)
                yield blob
