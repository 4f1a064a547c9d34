"""Commands that index: `ztoc` for a layer, `create` and `convert` for an image, `plan` for a look ahead."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from soci.build import recipe as build
from soci.build.plan import plan_layers, plan_task
from soci.build.recipe import BuildResult, Run
from soci.cli import options, reports
from soci.cli.endpoints import Places, converted_tag, copied_tag, open_places
from soci.cli.terminal import byte_bar, print_error, print_json, print_lines, progress_bars
from soci.cli.ztoc_directory import ZtocDirectory
from soci.errors import DamagedLayer, SizeMismatch, StorageError
from soci.image.documents import Image, choose_images, fetch_image
from soci.index.revert import is_converted
from soci.layer.gzip_header import MAGIC as GZIP_MAGIC
from soci.layer.zstd import MAGIC as ZSTD_MAGIC
from soci.oci.media_types import Compression
from soci.oci.reference import parse_reference
from soci.places.layout.atomic import write_atomically
from soci.places.layout.extents import CHUNK_BYTES, storage_errors
from soci.places.open import open_source
from soci.reasons import LeftOut, Reason
from soci.settings import (
    DEFAULT_BUILD_TOOL_IDENTIFIER,
    DEFAULT_GZIP_LEVEL,
    DEFAULT_MIN_LAYER_SIZE_BYTES,
    DEFAULT_SPAN_SIZE_BYTES,
    MultiMember,
    ZstdLayers,
)
from soci.ztoc.indexer import IndexedLayer, LayerIndexer, LayerTask

STANDARD_INPUT = Path("-")


def ztoc(
    layer: Annotated[
        Path, typer.Argument(metavar="LAYER", help="A layer, gzip or plain tar; - is standard input.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the zTOC to this file.")
    ] = None,
    compression: Annotated[
        Literal["gzip", "none"] | None, typer.Option(help="Of the layer; without it the first bytes tell.")
    ] = None,
    span_size: options.SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES,
    build_tool: options.BuildToolOption = DEFAULT_BUILD_TOOL_IDENTIFIER,
    multi_member: options.MultiMemberOption = MultiMember.INDEX,
    as_json: options.JsonOption = False,
) -> None:
    """Build the zTOC of one layer."""
    settings = options.settings_of(span_size=span_size, build_tool=build_tool, multi_member=multi_member)
    if output is not None and not output.parent.is_dir():  # better said before a long run than after it
        raise StorageError(f"{output}: there is no directory {output.parent}")
    started = time.perf_counter()
    with _open_layer(layer) as chunks:
        first = next(chunks, b"")
        if not first:
            raise SizeMismatch(f"{layer} is empty: that is no layer")
        is_gzip = first.startswith(GZIP_MAGIC) if compression is None else compression == "gzip"
        task = plan_task(settings, Compression.GZIP if is_gzip else Compression.UNCOMPRESSED)
        outcome = (
            LeftOut(reason=Reason.ZSTD)
            if compression is None and first.startswith(ZSTD_MAGIC)
            else _index(layer, task, itertools.chain((first,), chunks))
        )
    if isinstance(outcome, LeftOut):
        if as_json:
            print_json({"digest": None, **reports.reason_document(outcome)})
        print_error(f"{layer}: no zTOC. {outcome}")
        raise typer.Exit(1)
    if output is not None:
        _write_file(output, outcome.ztoc)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(reports.ztoc_document(outcome, seconds=seconds, output=output))
    else:
        print_lines(reports.ztoc_lines(outcome, seconds=seconds, output=output))


def _index(layer: Path, task: LayerTask, chunks: Iterator[bytes]) -> IndexedLayer | LeftOut:
    total_bytes = layer.stat().st_size if layer.is_file() else None
    try:
        with byte_bar(str(layer), total_bytes) as advance, LayerIndexer(task) as indexer:
            for chunk in chunks:
                indexer.feed(chunk)
                advance(len(chunk))
            return indexer.finish()
    except DamagedLayer as error:
        raise type(error)(f"{layer}: {error}") from None


def _write_file(path: Path, data: bytes | bytearray) -> None:
    """Write a file whole or not at all; a link stays a link, and what is no file (/dev/null) stays that."""
    with storage_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            write_atomically(path.resolve(), (data,))


@contextmanager
def _open_layer(path: Path) -> Iterator[Iterator[bytes]]:
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # Python's way to say that it was closed
            raise StorageError("standard input is closed")
        yield _chunks(Path("standard input"), sys.stdin.buffer.read)
        return
    with storage_errors(path):
        file = path.open("rb", buffering=0)
    with file:
        yield _chunks(path, file.read)


def _chunks(path: Path, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        with storage_errors(path):
            chunk = read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _index_command(
    name: str,
    help_text: str,
    recipe: Callable[[Run], BuildResult],
    tag_of: Callable[[Places, Image], str | None],
) -> Callable[..., None]:
    """Make `create` or `convert`: they take the same flags and differ in the recipe and the tag it writes."""

    def command(
        image: options.ImageArgument,
        destination: options.DestinationArgument = None,
        *,
        platform: options.PlatformOption = None,
        all_platforms: options.AllPlatformsOption = False,
        span_size: options.SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES,
        min_layer_size: options.MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES,
        optimizations: options.OptimizationsOption = None,
        prefetch_file: options.PrefetchOption = None,
        build_tool: options.BuildToolOption = DEFAULT_BUILD_TOOL_IDENTIFIER,
        multi_member: options.MultiMemberOption = MultiMember.INDEX,
        zstd: options.ZstdOption = ZstdLayers.LEAVE_OUT,
        gzip_level: options.GzipLevelOption = DEFAULT_GZIP_LEVEL,
        jobs: options.JobsOption = options.DEFAULT_JOBS,
        cache: options.CacheOption = None,
        as_json: options.JsonOption = False,
    ) -> None:
        settings = options.settings_of(
            span_size=span_size,
            min_layer_size=min_layer_size,
            optimizations=optimizations,
            prefetch_files=prefetch_file,
            build_tool=build_tool,
            multi_member=multi_member,
            zstd=zstd,
            gzip_level=gzip_level,
        )
        wanted = options.platforms_of(platform, all_platforms=all_platforms)
        places = open_places(image, destination)
        found = fetch_image(places.source)
        chosen = choose_images(found, wanted)
        tag = tag_of(places, found)
        with progress_bars() as progress:
            result = recipe(
                Run(
                    source=places.source,
                    sink=places.sink,
                    image=found,
                    chosen=chosen,
                    settings=settings,
                    tag=tag,
                    jobs=jobs,
                    progress=progress,
                    cache=None if cache is None else ZtocDirectory(cache),
                )
            )
        _report(result, found, where=places.where, tag=tag, as_json=as_json)

    command.__name__ = name
    command.__doc__ = help_text
    return command


create = _index_command(
    "create",
    "Index an image with version 1: an index manifest beside it that names it as its subject.",
    build.create_index,
    lambda places, image: copied_tag(places, image.root),
)
convert = _index_command(
    "convert",
    "Index an image with version 2: a SOCI-enabled image beside it, tagged with -soci or as DEST says.",
    build.convert,
    lambda places, image: converted_tag(places, image.root, is_converted=is_converted(image)),
)


def plan(
    image: options.ImageArgument,
    *,
    platform: options.PlatformOption = None,
    all_platforms: options.AllPlatformsOption = False,
    min_layer_size: options.MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES,
    zstd: options.ZstdOption = ZstdLayers.LEAVE_OUT,
    as_json: options.JsonOption = False,
) -> None:
    """Show which layers would be indexed, and why the others would not. Reads documents only."""
    settings = options.settings_of(min_layer_size=min_layer_size, zstd=zstd)
    found = fetch_image(open_source(parse_reference(image)))
    chosen = choose_images(found, options.platforms_of(platform, all_platforms=all_platforms))
    plans = [(one, plan_layers(one.manifest, settings)) for one in chosen]
    if as_json:
        print_json(reports.plan_document(found, plans))
    else:
        reports.print_plan(found, plans)


def _report(result: BuildResult, image: Image, *, where: str, tag: str | None, as_json: bool) -> None:
    """Show what a run made; exit with 1 when there was nothing to index, or the tag had to be left alone."""
    if as_json:
        print_json(reports.build_document(result, image))
    else:
        reports.print_build(result)
    for pattern in sorted({pattern for one in result.platforms for pattern in one.unmatched_prefetch}):
        print_error(f"prefetch: no file matches {pattern}")
    if result.root is None:
        print_error("nothing to index: no layer got a zTOC, so nothing was written")
        raise typer.Exit(1)
    if not as_json:
        reports.print_published(result, image, where=where)
    if result.tag_left_alone is not None:
        print_error(f"tag {tag} is left alone: {result.tag_left_alone.sentence}")
        raise typer.Exit(1)
