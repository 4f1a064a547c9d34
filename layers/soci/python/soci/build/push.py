"""Writing what was made: zTOCs and other blobs first, then index manifests, then the images that name them."""

from __future__ import annotations

from collections.abc import Sequence

from soci.build.assemble import AssembledPlatform
from soci.index.convert import ConvertedImage
from soci.index.document import Document
from soci.index.manifest import EMPTY_CONFIG
from soci.oci.descriptor import Descriptor
from soci.places.ports import ArtifactSink
from soci.ztoc.model import IndexedLayer


def push_ztoc(sink: ArtifactSink, indexed: IndexedLayer) -> None:
    """Write a zTOC, unless it is there. Raises `SourceError`."""
    _push_blob(sink, indexed.descriptor, indexed.ztoc)


def push_indexes(sink: ArtifactSink, platforms: Sequence[AssembledPlatform]) -> None:
    """Write config, prefetch artifacts and index manifests; the zTOCs are there already. Raises `SourceError`."""
    _push_blob(sink, EMPTY_CONFIG.descriptor, EMPTY_CONFIG.data)
    for platform in platforms:
        if platform.index is not None:
            for artifact in platform.artifacts:
                _push_blob(sink, artifact.descriptor, artifact.data)
            sink.push_manifest(platform.index.descriptor, platform.index.data)


def push_config(sink: ArtifactSink, config: Document) -> None:
    """Write an image config, unless it is there. Raises `SourceError`."""
    _push_blob(sink, config.descriptor, config.data)


def push_referrers(sink: ArtifactSink, platforms: Sequence[AssembledPlatform]) -> None:
    """List index manifests of version 1 as entry points, without a tag. Raises `SourceError`."""
    for platform in platforms:
        if platform.index is not None:
            sink.push_root(platform.index.descriptor, None)


def push_converted(sink: ArtifactSink, converted: ConvertedImage) -> None:
    """Write the documents of a converted image, without its tag. Raises `SourceError`."""
    for document in (*converted.manifests, converted.root):
        sink.push_manifest(document.descriptor, document.data)


def _push_blob(sink: ArtifactSink, descriptor: Descriptor, data: bytes | bytearray) -> None:
    if not sink.has_blob(descriptor):
        sink.push_blob(descriptor, (data,))
