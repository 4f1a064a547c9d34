"""The recipe: every planned layer to its zTOC, every image to its index, then push, the entry point last.

Nothing is pushed before all layers are indexed: a damaged layer leaves the destination as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.copy import copy_blobs_of, copy_trees
from soci.errors import BlobMissing, InputError
from soci.fetch import Image, PlatformImage
from soci.filesystem import FileSystem
from soci.index.convert import PlatformIndex, convert_image, index_of_single
from soci.index.documents import Document
from soci.index.manifest import (
    EMPTY_CONFIG,
    IndexVersion,
    LayerZtoc,
    describe_ztoc,
    encode_index_manifest,
)
from soci.index.prefetch import SpanRange, encode_prefetch, merge_ranges, plan_prefetch
from soci.index_layers import LayerResult, Progress, index_layers
from soci.layer_files import entries_of_layer
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.plan import plan_layers
from soci.ports import ArtifactSink, ImageSource, ImageStore
from soci.reasons import Reason
from soci.settings import IndexSettings
from soci.tagging import TagLeftAlone, push_tagged
from soci.ztoc.builder import IndexedLayer
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.model import FileEntry, Span

_NO_TAR = frozenset({Reason.NOT_A_LAYER, Reason.ENCRYPTED, Reason.UNKNOWN_COMPRESSION})
"""What was left out for these reasons is not even tried to be read as a tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResult:
    """What came of one platform's image."""

    image: PlatformImage
    layers: tuple[LayerResult, ...]
    """In the image's order."""
    index: Document | None
    """The SOCI index manifest; None when no layer got a zTOC."""
    artifacts: tuple[Document, ...]
    """Prefetch artifacts, each once."""
    unmatched_prefetch: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a run made: per platform an index, and for version 2 the SOCI-enabled image."""

    platforms: tuple[PlatformResult, ...]
    root: Descriptor | None
    """What the run published: the SOCI-enabled image (v2), the first index manifest (v1); None for nothing."""
    tag: str | None = None
    """The tag that the run set; None when none was wanted, or it was left alone."""
    tag_left_alone: TagLeftAlone | None = None


def create_index(
    source: ImageSource,
    sink: ImageStore,
    image: Image,
    chosen: Sequence[PlatformImage],
    settings: IndexSettings,
    *,
    tag: str | None,
    jobs: int,
    progress: Progress,
) -> BuildResult:
    """Index images with version 1: index manifests that name their image as subject.

    When `sink` is another place than `source` the image is copied there as well. `tag` is given to the image.
    """
    results = index_platforms(source, chosen, settings, IndexVersion.V1, jobs=jobs, progress=progress)
    made = [result.index for result in results if result.index is not None]
    if not made:
        return BuildResult(platforms=results, root=None)
    if sink is not source:
        copy_trees(source, sink, (image.root,))
    _push_artifacts(sink, results)
    left_alone = None
    if sink is not source or tag is not None:
        left_alone = push_tagged(source, image.root, sink, image.root, tag)
    for document in made:
        sink.push_root(document.descriptor, None)
    return BuildResult(
        platforms=results,
        root=made[0].descriptor,
        tag=None if left_alone else tag,
        tag_left_alone=left_alone,
    )


def convert(
    source: ImageSource,
    sink: ImageStore,
    image: Image,
    chosen: Sequence[PlatformImage],
    settings: IndexSettings,
    *,
    tag: str | None,
    jobs: int,
    progress: Progress,
) -> BuildResult:
    """Index images with version 2: a SOCI-enabled image beside the original, under `tag`."""
    results = index_platforms(source, chosen, settings, IndexVersion.V2, jobs=jobs, progress=progress)
    made = [
        PlatformIndex(
            image_manifest=result.image.descriptor.digest, platform=result.image.platform, index=result.index
        )
        for result in results
        if result.index is not None
    ]
    if not made:
        return BuildResult(platforms=results, root=None)
    index = image.index or index_of_single(image.root, image.images[0].platform)
    manifests = {one.descriptor.digest: one.manifest for one in image.images}
    converted = convert_image(index, manifests, made)
    if sink is not source:
        for manifest in manifests.values():
            copy_blobs_of(source, sink, manifest)
        copy_trees(source, sink, [one for one in index.manifests or () if one.digest not in manifests])
    _push_artifacts(sink, results)
    for document in (*converted.manifests, converted.root):
        sink.push_manifest(document.descriptor, document.data)
    root = converted.root.descriptor
    left_alone = push_tagged(source, image.root, sink, root, tag)
    return BuildResult(
        platforms=results, root=root, tag=None if left_alone else tag, tag_left_alone=left_alone
    )


def index_platforms(
    source: ImageSource,
    chosen: Sequence[PlatformImage],
    settings: IndexSettings,
    version: IndexVersion,
    *,
    jobs: int,
    progress: Progress,
) -> tuple[PlatformResult, ...]:
    """Index all layers of some images, each once, and make the index manifests. Nothing is written.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read.
    """
    plans = [plan_layers(one.manifest, settings) for one in chosen]
    planned = [layer for plan in plans for layer in plan]
    outcomes = index_layers(source, planned, settings, jobs=jobs, progress=progress)
    return tuple(
        _assemble(source, one, [outcomes[layer] for layer in plan], settings, version)
        for one, plan in zip(chosen, plans, strict=True)
    )


def _assemble(
    source: ImageSource,
    image: PlatformImage,
    layers: Sequence[LayerResult],
    settings: IndexSettings,
    version: IndexVersion,
) -> PlatformResult:
    ztocs = [
        describe_ztoc(
            LayerZtoc(
                layer=layer.descriptor,
                ztoc=_ztoc_descriptor(layer.outcome),
                needs_xattrs=layer.outcome.needs_xattrs,
            ),
            settings,
        )
        for layer in layers
        if isinstance(layer.outcome, IndexedLayer)
    ]
    if not ztocs:
        return PlatformResult(
            image=image,
            layers=tuple(layers),
            index=None,
            artifacts=(),
            unmatched_prefetch=settings.prefetch_patterns,
        )
    artifacts, unmatched = _prefetch(source, layers, settings)
    prefetch = [
        replace(artifact.descriptor, annotations={SOCI_IMAGE_LAYER_DIGEST: str(layer.descriptor.digest)})
        for layer in layers
        if (artifact := artifacts.get(layer.descriptor.digest))
    ]
    index = encode_index_manifest(
        version=version, ztocs=ztocs, prefetch=prefetch, image_manifest=image.descriptor, settings=settings
    )
    return PlatformResult(
        image=image,
        layers=tuple(layers),
        index=index,
        artifacts=tuple(artifacts.values()),
        unmatched_prefetch=unmatched,
    )


def _prefetch(
    source: ImageSource, layers: Sequence[LayerResult], settings: IndexSettings
) -> tuple[dict[Digest, Document], tuple[str, ...]]:
    """Make the prefetch artifacts by layer digest. Layers left out are read for what they hide or replace."""
    if not settings.prefetch_patterns:
        return {}, ()
    files: list[tuple[FileEntry, ...]] = []
    spans: list[tuple[Span, ...] | None] = []
    for layer in layers:
        if isinstance(layer.outcome, IndexedLayer):
            files.append(tuple(decode_files(layer.outcome.ztoc)))
            spans.append(decode_compression_info(layer.outcome.ztoc).spans)
        else:
            files.append(_entries_if_readable(source, layer.descriptor, layer.outcome.reason))
            spans.append(None)
    plan = plan_prefetch(settings.prefetch_patterns, FileSystem.of(files), spans)
    ranges: dict[Digest, list[SpanRange]] = {}
    for layer, found in zip(layers, plan.ranges, strict=True):
        if found:
            ranges.setdefault(layer.descriptor.digest, []).extend(found)
    return {digest: encode_prefetch(merge_ranges(found)) for digest, found in ranges.items()}, plan.unmatched


def _entries_if_readable(source: ImageSource, layer: Descriptor, reason: Reason) -> tuple[FileEntry, ...]:
    """Return a layer's files; none for a layer that cannot be read (zstd, foreign, encrypted, no tar at all).

    Whatever such a layer hides, a prefetch is a hint: at worst spans are fetched that nobody needs.
    """
    if reason in _NO_TAR:
        return ()
    try:
        return entries_of_layer(source, layer)
    except (InputError, BlobMissing):
        return ()


def _ztoc_descriptor(indexed: IndexedLayer) -> Descriptor:
    return Descriptor(media_type=media_types.ZTOC, digest=indexed.digest, size=len(indexed.ztoc))


def _push_artifacts(sink: ArtifactSink, results: Sequence[PlatformResult]) -> None:
    """Push config, zTOCs and prefetch artifacts, then the index manifests that name them."""
    _push_blob(sink, EMPTY_CONFIG.descriptor, EMPTY_CONFIG.data)
    for result in results:
        if result.index is None:
            continue
        for layer in result.layers:
            if isinstance(layer.outcome, IndexedLayer):
                _push_blob(sink, _ztoc_descriptor(layer.outcome), layer.outcome.ztoc)
        for artifact in result.artifacts:
            _push_blob(sink, artifact.descriptor, artifact.data)
        sink.push_manifest(result.index.descriptor, result.index.data)


def _push_blob(sink: ArtifactSink, descriptor: Descriptor, data: bytes | bytearray) -> None:
    if not sink.has_blob(descriptor):
        sink.push_blob(descriptor, (data,))
