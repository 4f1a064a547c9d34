"""The recipe: every planned layer to its zTOC, every image to its index, then push, the entry point last.

Nothing is pushed before all layers are indexed: a damaged layer leaves the destination as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from soci.assemble import PlatformResult, assemble_platform, ztoc_descriptor
from soci.copy import copy_blobs_of, copy_trees
from soci.errors import InvalidDocument, InvalidOption
from soci.fetch import Image, PlatformImage
from soci.index.convert import PlatformIndex, convert_image, index_of_single
from soci.index.manifest import EMPTY_CONFIG, IndexVersion
from soci.index_layers import LayerResult, Progress, abort_copies, index_layers
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.image_config import ImageConfig
from soci.oci.manifest import ImageManifest
from soci.plan import plan_layers
from soci.ports import ArtifactSink, ImageSource, ImageStore
from soci.settings import IndexSettings, ZstdLayers
from soci.tagging import TagLeftAlone, push_tagged
from soci.ztoc.builder import IndexedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a run made: per platform an index, and for version 2 the SOCI-enabled image."""

    platforms: tuple[PlatformResult, ...]
    root: Descriptor | None
    """What the run published: the SOCI-enabled image (v2), the first index manifest (v1); None for nothing."""
    tag: str | None = None
    """The tag that the run set; None when none was wanted, or it was left alone."""
    tag_left_alone: TagLeftAlone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a recipe is to do: index some images of a place, and publish the result."""

    source: ImageSource
    sink: ImageStore
    """The same object as `source` when the image is indexed where it lies."""
    image: Image
    chosen: tuple[PlatformImage, ...]
    settings: IndexSettings
    tag: str | None
    jobs: int
    """Layers that are indexed at the same time."""
    progress: Progress


def create_index(run: Run) -> BuildResult:
    """Index images with version 1: index manifests that name their image as subject.

    When `sink` is another place than `source` the image is copied there as well. `tag` is given to the image.
    """
    if run.settings.zstd_layers is ZstdLayers.RECOMPRESS:
        raise InvalidOption(
            "version 1 indexes an image as it is: recompressing zstd layers takes version 2, convert"
        )
    results = index_platforms(run, IndexVersion.V1)
    made = [result.index for result in results if result.index is not None]
    if not made:
        return BuildResult(platforms=results, root=None)
    root, tag = run.image.root, run.tag
    if run.sink is not run.source:
        copy_trees(run.source, run.sink, (root,))
    _push_artifacts(run.sink, results)
    left_alone = None
    if run.sink is not run.source or tag is not None:
        left_alone = push_tagged(run.source, root, run.sink, root, tag)
    for document in made:
        run.sink.push_root(document.descriptor, None)
    return BuildResult(
        platforms=results,
        root=made[0].descriptor,
        tag=None if left_alone else tag,
        tag_left_alone=left_alone,
    )


def convert(run: Run) -> BuildResult:
    """Index images with version 2: a SOCI-enabled image beside the original, under `tag`."""
    results = index_platforms(run, IndexVersion.V2)
    with _giving_up_copies([layer for result in results for layer in result.layers]):
        return _publish_converted(run, results)


def _publish_converted(run: Run, results: tuple[PlatformResult, ...]) -> BuildResult:
    source, sink, image = run.source, run.sink, run.image
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
    manifests |= {one.image.descriptor.digest: _with_copies(source, one) for one in results}
    converted = convert_image(index, manifests, made)
    _commit_copies(sink, results)
    if sink is not source:
        for manifest in manifests.values():
            copy_blobs_of(source, sink, manifest)
        copy_trees(source, sink, [one for one in index.manifests or () if one.digest not in manifests])
    _push_artifacts(sink, results)
    for document in (*converted.manifests, converted.root):
        sink.push_manifest(document.descriptor, document.data)
    root = converted.root.descriptor
    left_alone = push_tagged(source, image.root, sink, root, run.tag)
    return BuildResult(
        platforms=results, root=root, tag=None if left_alone else run.tag, tag_left_alone=left_alone
    )


def index_platforms(run: Run, version: IndexVersion) -> tuple[PlatformResult, ...]:
    """Index all layers of some images, each once, and make the index manifests. Nothing appears in the sink.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read.
    """
    plans = [plan_layers(one.manifest, run.settings) for one in run.chosen]
    planned = [layer for plan in plans for layer in plan]
    outcomes = index_layers(
        run.source, planned, run.settings, sink=run.sink, jobs=run.jobs, progress=run.progress
    )
    with _giving_up_copies(outcomes.values()):
        return tuple(
            assemble_platform(run.source, one, [outcomes[layer] for layer in plan], run.settings, version)
            for one, plan in zip(run.chosen, plans, strict=True)
        )


@contextmanager
def _giving_up_copies(layers: Iterable[LayerResult]) -> Iterator[None]:
    """Remove copies of zstd layers that are not committed yet when anything goes wrong."""
    try:
        yield
    except BaseException:
        abort_copies(layers)
        raise


def _with_copies(source: ImageSource, result: PlatformResult) -> ImageManifest:
    """Return the image manifest with gzip copies in place of zstd layers, checked against the config's diff IDs.

    Raises:
        DigestMismatch: a copy unpacks to something else than the image's config says.
        InvalidDocument: the config lists another number of layers.
    """
    manifest = result.image.manifest
    if not any(layer.copy for layer in result.layers):
        return manifest
    what = f"config {manifest.config.digest}"
    diff_ids = ImageConfig.parse(source.fetch_manifest(manifest.config), what).diff_ids
    if len(diff_ids) != len(result.layers):
        raise InvalidDocument(f"{what}: {len(diff_ids)} diff_ids for {len(result.layers)} layers")
    for layer, diff_id in zip(result.layers, diff_ids, strict=True):
        if layer.copy is not None:
            layer.copy.check_diff_id(diff_id)
    return replace(manifest, layers=tuple(layer.descriptor for layer in result.layers))


def _commit_copies(sink: ArtifactSink, results: Sequence[PlatformResult]) -> None:
    committed: set[Digest] = set()
    for result in results:
        for layer in result.layers:
            if layer.copy is not None and layer.copy.digest not in committed:
                layer.copy.commit(sink, layer.descriptor)
                committed.add(layer.copy.digest)


def _push_artifacts(sink: ArtifactSink, results: Sequence[PlatformResult]) -> None:
    """Push config, zTOCs and prefetch artifacts, then the index manifests that name them."""
    _push_blob(sink, EMPTY_CONFIG.descriptor, EMPTY_CONFIG.data)
    for result in results:
        if result.index is None:
            continue
        for layer in result.layers:
            if isinstance(layer.outcome, IndexedLayer):
                _push_blob(sink, ztoc_descriptor(layer.outcome), layer.outcome.ztoc)
        for artifact in result.artifacts:
            _push_blob(sink, artifact.descriptor, artifact.data)
        sink.push_manifest(result.index.descriptor, result.index.data)


def _push_blob(sink: ArtifactSink, descriptor: Descriptor, data: bytes | bytearray) -> None:
    if not sink.has_blob(descriptor):
        sink.push_blob(descriptor, (data,))
