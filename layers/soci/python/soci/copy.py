"""Copying what an image consists of from one place to another; blobs that are there already are left alone."""

from __future__ import annotations

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.ports import ArtifactSink, BlobMounter, ImageSource


def copy_tree(source: ImageSource, sink: ArtifactSink, root: Descriptor) -> None:
    """Copy a manifest or index with all that it refers to and that is at hand, the root last.

    Raises:
        SourceError, IntegrityError: something cannot be read or written, or is not what its descriptor says.
    """
    data = source.fetch_manifest(root)
    if media_types.is_index(root.media_type):
        for entry in ImageIndex.parse(data, f"index {root.digest}").manifests or ():
            if source.has_blob(entry):
                copy_tree(source, sink, entry)
    else:
        copy_blobs_of(source, sink, ImageManifest.parse(data, f"manifest {root.digest}"))
    sink.push_manifest(root, data)


def copy_blobs_of(source: ImageSource, sink: ArtifactSink, manifest: ImageManifest) -> None:
    """Copy an image's config and layers; a layer that lies elsewhere (`urls`) stays there."""
    for blob in (manifest.config, *(manifest.layers or ())):
        if sink.has_blob(blob) or (blob.urls and not source.has_blob(blob)):
            continue
        if isinstance(sink, BlobMounter) and sink.mount_blob(blob, source):
            continue
        with source.open_blob(blob) as chunks:
            sink.push_blob(blob, chunks)
