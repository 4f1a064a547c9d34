"""Copying an image from place to place. Blobs that the destination has are not copied again."""

from __future__ import annotations

from collections.abc import Sequence

from soci.errors import BlobMissing
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import ArtifactSink, BlobMounter, ImageSource


def copy_trees(source: ImageSource, sink: ArtifactSink, roots: Sequence[Descriptor]) -> None:
    """Copy manifests and indexes with all that they refer to. Each is copied once, after what it refers to.

    A missing document is skipped: other tools make partial copies of images.

    Raises:
        SourceError, IntegrityError: something cannot be read or written, or does not match its descriptor.
    """
    seen: set[Digest] = set()
    # A stack, not recursion: an image may nest indexes as deep as its maker likes.
    todo: list[tuple[Descriptor, bytes | None]] = []
    todo.extend((root, None) for root in reversed(roots))
    while todo:
        document, data = todo.pop()
        if data is not None:
            sink.push_manifest(document, data)
        elif document.digest not in seen:
            seen.add(document.digest)
            try:
                data = source.fetch_manifest(document)
            except BlobMissing:
                continue
            todo.append((document, data))
            todo.extend((entry, None) for entry in reversed(_copy_content(source, sink, document, data)))


def copy_blobs_of(source: ImageSource, sink: ArtifactSink, manifest: ImageManifest) -> None:
    """Copy an image's config and layers. A foreign layer that the source does not have is skipped."""
    for blob in (manifest.config, *(manifest.layers or ())):
        may_lie_elsewhere = bool(blob.urls) or media_types.is_foreign(blob.media_type)
        if sink.has_blob(blob) or (may_lie_elsewhere and not source.has_blob(blob)):
            continue
        if isinstance(sink, BlobMounter) and sink.mount_blob(blob, source):
            continue
        with source.open_blob(blob) as chunks:
            sink.push_blob(blob, chunks)


def _copy_content(
    source: ImageSource, sink: ArtifactSink, document: Descriptor, data: bytes
) -> tuple[Descriptor, ...]:
    """Copy the blobs of a manifest, or return the entries of an index. Other documents refer to nothing."""
    if media_types.is_index(document.media_type):
        return ImageIndex.parse(data, f"index {document.digest}").manifests or ()
    if media_types.is_manifest(document.media_type):
        copy_blobs_of(source, sink, ImageManifest.parse(data, f"manifest {document.digest}"))
    return ()
