"""`soci-index create` and `soci-index convert`: index an image, with version 1 or version 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from soci.build import recipe
from soci.build.index_layers import LayerResult
from soci.build.recipe import BuildResult, Run
from soci.build.reuse import KnownZtocs, NothingKnown
from soci.cli.endpoints import Endpoints, converted_tag, open_endpoints, unchanged_tag
from soci.cli.options import DestinationArgument, ImageArgument, IndexOptions, JsonOption
from soci.cli.profile_reports import profile_document, profile_lines
from soci.cli.reports import indexed_document, layer_document, print_reasons, reason_or_none
from soci.cli.start_options import StartOptions
from soci.cli.start_profiles import FoundProfiles, profiles_from_files, profiles_of_images
from soci.cli.terminal import (
    count_text,
    print_error,
    print_json,
    print_lines,
    print_table,
    progress_bars,
    short,
    size_text,
)
from soci.cli.ztoc_directory import CachedZtocs, ZtocDirectory
from soci.image.documents import Image, PlatformImage, choose_images, fetch_image
from soci.index.classify import is_converted
from soci.places.ports import ImageSource
from soci.reasons import LeftOut
from soci.settings import IndexSettings

_COLUMNS = ("LAYER", "SIZE", "FILES", "SPANS", "ZTOC", "SECONDS", "MB/S", "RESULT")
_BYTES_PER_MB = 1_000_000


def create(
    image: ImageArgument,
    destination: DestinationArgument = None,
    *,
    options: IndexOptions,
    start: StartOptions,
    as_json: JsonOption = False,
) -> None:
    """Index an image with version 1: write an index manifest that names the image as its subject."""

    def tag_of(endpoints: Endpoints, found: Image) -> str | None:
        return unchanged_tag(endpoints, found.root)

    _index(image, destination, recipe.create_index, tag_of, options=options, start=start, as_json=as_json)


def convert(
    image: ImageArgument,
    destination: DestinationArgument = None,
    *,
    options: IndexOptions,
    start: StartOptions,
    as_json: JsonOption = False,
) -> None:
    """Index an image with version 2: write a SOCI-enabled image beside it, tagged TAG-soci or as DEST says."""

    def tag_of(endpoints: Endpoints, found: Image) -> str | None:
        return converted_tag(endpoints, found.root, is_converted=is_converted(found))

    _index(image, destination, recipe.convert, tag_of, options=options, start=start, as_json=as_json)


def _index(
    image: str,
    destination: str | None,
    index: Callable[[Run], BuildResult],
    tag_of: Callable[[Endpoints, Image], str | None],
    *,
    options: IndexOptions,
    start: StartOptions,
    as_json: bool,
) -> None:
    """Run a recipe and show its result. Exit with 1 if nothing was indexed or the tag was left alone."""
    settings, wanted = start.added_to(options.settings()), options.platforms()
    endpoints = open_endpoints(image, destination)
    found = fetch_image(endpoints.source)
    chosen = choose_images(found, wanted)
    tag = tag_of(endpoints, found)
    profiles = _find_profiles(endpoints.source, chosen, start)
    with progress_bars() as progress:
        result = index(
            Run(
                source=endpoints.source,
                sink=endpoints.sink,
                image=found,
                chosen=chosen,
                settings=settings,
                tag=tag,
                jobs=options.jobs,
                progress=progress,
                known=_known_ztocs(options.cache, endpoints.source, settings),
                profiles=profiles.by_image,
            )
        )
    if as_json:
        print_json(_document(result, found, profiles))
    else:
        _print_layers(result)
        print_lines(profile_lines(result, profiles))
    for line in profiles.unused:
        print_error(line)
    for line in _start_first_lines(result) if settings.start_first else ():
        print_error(line)
    for pattern in sorted({pattern for one in result.platforms for pattern in one.unmatched_prefetch}):
        print_error(f"prefetch: no file matches {pattern}")
    if result.root is None:
        print_error("nothing to index: no layer got a zTOC, so nothing was written")
        raise typer.Exit(1)
    if not as_json:
        print_lines(_published_lines(result, found, where=endpoints.where))
    if result.tag_left_alone is not None:
        print_error(f"tag {tag} was not moved: {result.tag_left_alone.sentence}")
        raise typer.Exit(1)


def _find_profiles(
    source: ImageSource, chosen: Sequence[PlatformImage], start: StartOptions
) -> FoundProfiles:
    if start.profile:
        return profiles_from_files(start.profile, chosen)
    return FoundProfiles() if start.no_profile else profiles_of_images(source, chosen)


def _known_ztocs(cache: Path | None, source: ImageSource, settings: IndexSettings) -> KnownZtocs:
    if cache is None:
        return NothingKnown()
    return CachedZtocs(directory=ZtocDirectory(cache), source=source, settings=settings)


def _document(result: BuildResult, image: Image, profiles: FoundProfiles) -> dict[str, object]:
    return {
        "digest": None if result.root is None else str(result.root.digest),
        "tag": result.tag,
        "tag_left_alone": result.tag_left_alone,
        "image": str(image.root.digest),
        "platforms": [
            {
                "platform": str(one.image.platform),
                "image_manifest": str(one.image.descriptor.digest),
                "index": None if one.index is None else str(one.index.descriptor.digest),
                "profile": profile_document(one, profiles),
            }
            for one in result.platforms
        ],
        "layers": [
            _layer_document(one.image, layer)
            for one, layers in zip(result.platforms, result.layers, strict=True)
            for layer in layers
        ],
    }


def _layer_document(image: PlatformImage, layer: LayerResult) -> dict[str, object]:
    outcome = layer.outcome
    ztoc = None if isinstance(outcome, LeftOut) else indexed_document(outcome, layer.seconds)
    copied = {"copy_of": str(layer.recompressed.of)} if layer.recompressed else {}
    reused = {"reused": True} if layer.reused else {}
    front = {"front": asdict(layer.front)} if layer.front else {}
    described = layer_document(image, layer.descriptor)
    return described | copied | front | {"ztoc": ztoc} | reused | reason_or_none(outcome)


def _print_layers(result: BuildResult) -> None:
    """Print a table of layers for each platform, and explain why layers were left out."""
    for one, layers in zip(result.platforms, result.layers, strict=True):
        print_lines([f"{one.image.platform}  {one.image.descriptor.digest}"])
        print_table(_COLUMNS, [_row(layer) for layer in layers], right=_COLUMNS[1:-1])
    outcomes = [layer.outcome for layer in result.each_layer]
    print_reasons([outcome for outcome in outcomes if isinstance(outcome, LeftOut)])


def _row(layer: LayerResult) -> tuple[str, ...]:
    name, size = short(layer.descriptor.digest), size_text(layer.descriptor.size)
    outcome = layer.outcome
    if isinstance(outcome, LeftOut):
        return (name, size, "", "", "", "", "", f"left out: {outcome.reason}")
    rate = layer.descriptor.size / _BYTES_PER_MB / layer.seconds if layer.seconds else 0.0
    numbers = (f"{outcome.files:,}", f"{outcome.spans:,}", size_text(len(outcome.ztoc)))
    return (name, size, *numbers, f"{layer.seconds:.2f}", f"{rate:.0f}", _made(layer))


def _made(layer: LayerResult) -> str:
    if layer.reused:
        return "from the cache"
    if layer.recompressed is None:
        return "indexed"
    how = "recompressed"
    if layer.front:
        how = f"{layer.front.entries:,} entries of {size_text(layer.front.size_bytes)} put in front,"
    return f"indexed, {how} from {short(layer.recompressed.of)}"


def _start_first_lines(result: BuildResult) -> list[str]:
    """Say what start files first came to, where that is not what was asked for."""
    fronts = [layer.front for layer in result.each_layer if layer.front]
    lines = [] if fronts else ["start files first: no layer is worth it, so each stays as it is"]
    if left := sum(front.left for front in fronts):
        lines.append(
            f"start files first: {count_text(left, 'file')} stayed in place, because order carries meaning there"
        )
    return lines


def _published_lines(result: BuildResult, image: Image, *, where: str) -> list[str]:
    lines = []
    for one in result.platforms:
        if one.index is not None:
            lines.append(f"SOCI index {one.index.descriptor.digest} for {one.image.platform}")
        else:
            lines.append(f"no SOCI index for {one.image.platform}: no layer got a zTOC")
    done = {one.image.platform for one in result.platforms}
    others = [str(one.platform) for one in image.images if not any(one.platform.matches(p) for p in done)]
    if others:
        lines.append(f"not asked for: {', '.join(others)} (--all-platforms indexes all)")
    if result.root and result.root.digest not in {
        one.index.descriptor.digest for one in result.platforms if one.index
    }:
        lines.append(f"SOCI-enabled image {result.root.digest}")
    lines.append(f"written to {where}" + (f" with tag {result.tag}" if result.tag else ""))
    return lines
