"""The recipe: every planned layer to its zTOC, every image to its index, then push, the entry point last.

Nothing is pushed before all layers are indexed: a damaged layer leaves the destination as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from soci.build.assemble import (
    AssembledPlatform,
    IndexRecipe,
    LayerPart,
    assemble_converted,
    assemble_platform,
    converted_manifests,
    index_of,
)
from soci.build.index_layers import LayerResult, Progress, abort_copies, index_layers
from soci.build.plan import plan_layers
from soci.build.push import push_converted, push_indexes, push_ztoc, ztoc_descriptor
from soci.build.recompress import fetch_diff_ids
from soci.build.reuse import ZtocCache
from soci.build.tagging import TagLeftAlone, push_tagged
from soci.errors import InvalidOption
from soci.image.copy import copy_blobs_of, copy_trees
from soci.image.documents import Image, PlatformImage
from soci.index.manifest import LayerZtoc
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ArtifactSink, ImageSource, ImageStore
from soci.settings import IndexSettings, IndexVersion, ZstdLayers
from soci.ztoc.model import IndexedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformResult(AssembledPlatform):
    """What came of one platform's image: its documents, and the layers with all there is to say of them."""

    layers: tuple[LayerResult, ...]
    """In the image's order."""


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
    cache: ZtocCache | None = None
    """Where zTOCs are kept from run to run."""


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
    _push_ztocs(run.sink, results)
    push_indexes(run.sink, results)
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
    converted = assemble_converted(image, results)
    if converted is None:
        return BuildResult(platforms=results, root=None)
    _check_copies(source, results)
    _commit_copies(sink, results)
    if sink is not source:
        _copy_rest(run, results)
    _push_ztocs(sink, results)
    push_indexes(sink, results)
    push_converted(sink, converted)
    root = converted.root.descriptor
    left_alone = push_tagged(source, image.root, sink, root, run.tag)
    return BuildResult(
        platforms=results, root=root, tag=None if left_alone else run.tag, tag_left_alone=left_alone
    )


def _copy_rest(run: Run, results: Sequence[PlatformResult]) -> None:
    """Copy what the converted image takes over from the image: blobs as they are, and what is no image."""
    manifests = converted_manifests(run.image, results)
    for manifest in manifests.values():
        copy_blobs_of(run.source, run.sink, manifest)
    others = [one for one in index_of(run.image).manifests or () if one.digest not in manifests]
    copy_trees(run.source, run.sink, others)


def index_platforms(run: Run, version: IndexVersion) -> tuple[PlatformResult, ...]:
    """Index all layers of some images, each once, and make the index manifests. Nothing appears in the sink.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read.
    """
    plans = [plan_layers(one.manifest, run.settings) for one in run.chosen]
    planned = [layer for plan in plans for layer in plan]
    outcomes = index_layers(
        run.source,
        planned,
        run.settings,
        sink=run.sink,
        jobs=run.jobs,
        progress=run.progress,
        cache=run.cache,
    )
    with _giving_up_copies(outcomes.values()):
        ztocs = {
            result.outcome.digest: result.outcome.ztoc
            for result in outcomes.values()
            if isinstance(result.outcome, IndexedLayer)
        }
        recipe = IndexRecipe(
            settings=run.settings, version=version, read_ztoc=lambda ztoc: ztocs[ztoc.digest]
        )
        return tuple(
            _platform_result(run.source, one, [outcomes[layer] for layer in plan], recipe)
            for one, plan in zip(run.chosen, plans, strict=True)
        )


def _platform_result(
    source: ImageSource, image: PlatformImage, layers: Sequence[LayerResult], recipe: IndexRecipe
) -> PlatformResult:
    made = assemble_platform(source, image, [_part(layer) for layer in layers], recipe)
    return PlatformResult(
        image=made.image,
        parts=made.parts,
        index=made.index,
        artifacts=made.artifacts,
        unmatched_prefetch=made.unmatched_prefetch,
        layers=tuple(layers),
    )


def _part(result: LayerResult) -> LayerPart:
    outcome = result.outcome
    if isinstance(outcome, IndexedLayer):
        return LayerPart(
            descriptor=result.descriptor,
            outcome=LayerZtoc(
                layer=result.descriptor, ztoc=ztoc_descriptor(outcome), needs_xattrs=outcome.needs_xattrs
            ),
            copy=result.copy,
        )
    return LayerPart(descriptor=result.descriptor, outcome=outcome, copy=result.copy)


@contextmanager
def _giving_up_copies(layers: Iterable[LayerResult]) -> Iterator[None]:
    """Remove copies of zstd layers that are not committed yet when anything goes wrong."""
    try:
        yield
    except BaseException:
        abort_copies(layers)
        raise


def _check_copies(source: ImageSource, results: Sequence[PlatformResult]) -> None:
    """Check that gzip copies unpack to what the images' configs say of the layers they stand for."""
    for result in results:
        if any(layer.written for layer in result.layers):
            diff_ids = fetch_diff_ids(source, result.image.manifest)
            for layer, diff_id in zip(result.layers, diff_ids, strict=True):
                if layer.written is not None:
                    layer.written.check_diff_id(diff_id)


def _commit_copies(sink: ArtifactSink, results: Sequence[PlatformResult]) -> None:
    committed: set[Digest] = set()
    for result in results:
        for layer in result.layers:
            if layer.written is not None and layer.descriptor.digest not in committed:
                layer.written.commit(sink, layer.descriptor)
                committed.add(layer.descriptor.digest)


def _push_ztocs(sink: ArtifactSink, results: Sequence[PlatformResult]) -> None:
    for result in results:
        for layer in result.layers:
            if isinstance(layer.outcome, IndexedLayer):
                push_ztoc(sink, layer.outcome)
