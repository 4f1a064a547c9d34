"""The recipes: index the planned layers, make the index manifests, push, set the tag.

Nothing is pushed before all layers are indexed. A damaged layer leaves the destination as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from soci.build.assemble import (
    AssembledPlatform,
    IndexRecipe,
    LayerPart,
    assemble_converted,
    assemble_platform,
    converted_manifests,
    index_of,
)
from soci.build.index_layers import LayerResult, abort_uploads, index_layers
from soci.build.plan import PlannedLayer, plan_layers
from soci.build.push import push_config, push_converted, push_indexes, push_referrers, push_ztoc
from soci.build.recompress import Recompression
from soci.build.reuse import KnownZtocs, NothingKnown
from soci.build.tagging import TagLeftAlone, push_tagged
from soci.errors import InvalidOption
from soci.image.copy import copy_blobs_of, copy_trees
from soci.image.documents import Image, PlatformImage, fetch_diff_ids
from soci.image.progress import Progress
from soci.index.manifest import LayerZtoc
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageSource, ImageStore
from soci.reasons import LeftOut
from soci.settings import IndexSettings, IndexVersion, ZstdLayers
from soci.start.prefetch_source import UsedProfile
from soci.ztoc.model import IndexedLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a run made: per platform an index, and for version 2 the converted image."""

    platforms: tuple[AssembledPlatform, ...]
    layers: tuple[tuple[LayerResult, ...], ...]
    """Per platform, in the order of its image."""
    root: Descriptor | None = None
    """What the run published: the converted image (v2), the first index manifest (v1); None for nothing."""
    tag: str | None = None
    """The tag that the run set; None if none was wanted, or the tag was left alone."""
    tag_left_alone: TagLeftAlone | None = None

    @property
    def each_layer(self) -> list[LayerResult]:
        """The layers of all platforms."""
        return [layer for layers in self.layers for layer in layers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The input of a recipe: the chosen images of a place, and where the result goes."""

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
    known: KnownZtocs = field(default_factory=NothingKnown)
    profiles: Mapping[Digest, UsedProfile] = field(default_factory=dict)
    """The start profiles that decide what is prefetched, by the digest of the image manifest."""
    marks_patterns: bool = False
    """See `IndexRecipe`."""


def create_index(run: Run) -> BuildResult:
    """Index images with version 1: index manifests that name their image as subject.

    When `sink` is another place than `source`, the image is copied there as well. `tag` is given to the image.
    """
    if run.settings.zstd_layers is ZstdLayers.RECOMPRESS:
        raise InvalidOption(
            "version 1 indexes an image as it is: recompressing zstd layers takes version 2, convert"
        )
    if run.settings.start_first:
        raise InvalidOption("version 1 indexes an image as it is: start files first takes version 2, convert")
    made = index_platforms(run, IndexVersion.V1)
    indexes = [platform.index for platform in made.platforms if platform.index is not None]
    if not indexes:
        return made
    if run.sink is not run.source:
        copy_trees(run.source, run.sink, (run.image.root,))
    _push_ztocs(run, made)
    push_indexes(run.sink, made.platforms)
    if run.sink is not run.source or run.tag is not None:
        made = _tagged(run, made, run.image.root)
    push_referrers(run.sink, made.platforms)
    return replace(made, root=indexes[0].descriptor)


def convert(run: Run) -> BuildResult:
    """Index images with version 2: a converted image beside the original, under `tag`."""
    if run.settings.start_first and not any(one.descriptor.digest in run.profiles for one in run.chosen):
        platforms = ", ".join(str(one.platform) for one in run.chosen)
        raise InvalidOption(
            f"start files first: no start profile for {platforms}; give one with --profile FILE"
        )
    made = index_platforms(run, IndexVersion.V2)
    with _aborting_uploads(made.each_layer):
        converted = assemble_converted(run.image, made.platforms)
        if converted is None:
            return made
        _commit_new_layers(run, made)
        if run.sink is not run.source:
            _copy_rest(run, made.platforms)
        _push_ztocs(run, made)
        push_indexes(run.sink, made.platforms)
        push_converted(run.sink, converted)
        return _tagged(run, made, converted.root.descriptor)


def index_platforms(run: Run, version: IndexVersion) -> BuildResult:
    """Index all layers of the chosen images, each once, and make the index manifests. Nothing appears in the sink.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read.
    """
    plans = [plan_layers(one.manifest, run.settings) for one in run.chosen]
    planned = [layer for plan in plans for layer in plan]
    results = index_layers(
        run.source,
        planned,
        run.settings,
        sink=run.sink,
        jobs=run.jobs,
        progress=run.progress,
        known=run.known,
    )
    uploaded = list(results.values())
    with _aborting_uploads(uploaded):
        layers = tuple(
            _put_start_first(run, image, plan, [results[layer] for layer in plan], uploaded)
            for image, plan in zip(run.chosen, plans, strict=True)
        )
        _abort_unused(uploaded, layers)
        indexed = (
            one.outcome for of_image in layers for one in of_image if isinstance(one.outcome, IndexedLayer)
        )
        ztocs = {one.digest: one.ztoc for one in indexed}
        recipe = IndexRecipe(
            settings=run.settings,
            version=version,
            read_ztoc=lambda ztoc: ztocs[ztoc.digest],
            marks_patterns=run.marks_patterns,
        )
        platforms = tuple(
            assemble_platform(
                run.source,
                image,
                [_part_of(layer) for layer in of_image],
                recipe,
                run.profiles.get(image.descriptor.digest),
            )
            for image, of_image in zip(run.chosen, layers, strict=True)
        )
    return BuildResult(
        platforms=platforms,
        layers=tuple(
            tuple(_as_assembled(layer, part) for layer, part in zip(of_image, one.parts, strict=True))
            for of_image, one in zip(layers, platforms, strict=True)
        ),
    )


def _put_start_first(
    run: Run,
    image: PlatformImage,
    planned: Sequence[PlannedLayer],
    results: Sequence[LayerResult],
    uploaded: list[LayerResult],
) -> tuple[LayerResult, ...]:
    """Write layers anew if the settings ask for it and the image has a profile. Enters them as uploaded."""
    profile = run.profiles.get(image.descriptor.digest)
    if not run.settings.start_first or profile is None:
        return tuple(results)
    from soci.build.start_first import StartFirst, put_start_first  # noqa: PLC0415 - few runs need it

    how = StartFirst(
        source=run.source, sink=run.sink, settings=run.settings, jobs=run.jobs, progress=run.progress
    )
    made = put_start_first(how, profile.profile, planned, results)
    uploaded += made
    return made


def _abort_unused(uploaded: Iterable[LayerResult], used: Iterable[Iterable[LayerResult]]) -> None:
    """Give up recompressed layers that were written anew once more."""
    kept = {id(one.recompression) for of_image in used for one in of_image}
    abort_uploads(one for one in uploaded if id(one.recompression) not in kept)


def _part_of(result: LayerResult) -> LayerPart:
    made, layer = result.outcome, result.descriptor
    outcome: LayerZtoc | LeftOut = (
        LayerZtoc(layer=layer, ztoc=made.descriptor, needs_xattrs=made.needs_xattrs)
        if isinstance(made, IndexedLayer)
        else made
    )
    return LayerPart(descriptor=layer, outcome=outcome, recompressed=result.recompressed)


def _as_assembled(layer: LayerResult, part: LayerPart) -> LayerResult:
    """Return a layer's result without its zTOC if the layer was left whole."""
    return replace(layer, outcome=part.outcome) if isinstance(part.outcome, LeftOut) else layer


def _tagged(run: Run, made: BuildResult, root: Descriptor) -> BuildResult:
    """Make a root an entry point of the sink. It gets the tag if the source's tag still names the image."""
    left_alone = push_tagged(run.source, run.image.root, run.sink, root, run.tag)
    return replace(made, root=root, tag=None if left_alone else run.tag, tag_left_alone=left_alone)


def _copy_rest(run: Run, platforms: Sequence[AssembledPlatform]) -> None:
    """Copy what the converted image shares with the image: blobs, and entries that are no images."""
    manifests = converted_manifests(run.image, platforms)
    for manifest in manifests.values():
        copy_blobs_of(run.source, run.sink, manifest)
    others = [one for one in index_of(run.image).manifests or () if one.digest not in manifests]
    copy_trees(run.source, run.sink, others)


@contextmanager
def _aborting_uploads(layers: Iterable[LayerResult]) -> Iterator[None]:
    """On any error, give up the new layers that are not committed yet."""
    try:
        yield
    except BaseException:
        abort_uploads(layers)
        raise


def _commit_new_layers(run: Run, made: BuildResult) -> None:
    """Check what all new layers were made of against the configs of their images, then let them appear.

    The configs that changed with them are written, too.
    """
    checked: dict[int, tuple[Recompression, Descriptor]] = {}
    for platform, layers in zip(made.platforms, made.layers, strict=True):
        if any(layer.recompression for layer in layers):
            diff_ids = fetch_diff_ids(run.source, platform.image.manifest)
            for layer, diff_id in zip(layers, diff_ids, strict=True):
                if layer.recompression is not None:
                    layer.recompression.check_diff_id(diff_id)
                    checked[id(layer.recompression)] = layer.recompression, layer.descriptor
    for recompression, descriptor in checked.values():
        recompression.commit(run.sink, descriptor)
    for platform in made.platforms:
        if platform.config is not None:
            push_config(run.sink, platform.config)


def _push_ztocs(run: Run, made: BuildResult) -> None:
    for layer in made.each_layer:
        if isinstance(layer.outcome, IndexedLayer):
            push_ztoc(run.sink, layer.outcome)
