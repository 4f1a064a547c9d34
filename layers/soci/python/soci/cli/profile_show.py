"""`soci-index profile show`: what a start reads of an image, and how long it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soci.cli.advise import OnePlatformOption, ProfileArgument
from soci.cli.network_options import EstimateOptions
from soci.cli.opened_start import open_start
from soci.cli.options import ImageArgument, JsonOption, MinLayerSizeOption, SpanSizeOption
from soci.cli.start_document import report_document
from soci.cli.start_table import print_report
from soci.cli.terminal import print_json
from soci.places.layout.atomic_files import write_atomically
from soci.settings import DEFAULT_MIN_LAYER_SIZE_BYTES, DEFAULT_SPAN_SIZE_BYTES, IndexSettings


def show(
    image: ImageArgument,
    profile: ProfileArgument = None,
    *,
    platform: OnePlatformOption = None,
    options: EstimateOptions,
    span_size: SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES,
    min_layer_size: MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES,
    files: Annotated[
        int, typer.Option("--files", min=0, max=100_000, help="Files to list, those read most first.")
    ] = 10,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report as one HTML page.", dir_okay=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a start reads of an image: layers as a picture, files, and the time by each way to load it.

    An image without an index is read whole, as if it were indexed with --span-size and --min-layer-size.
    """
    settings = IndexSettings(span_size_bytes=span_size, min_layer_size_bytes=min_layer_size)
    report = open_start(image, profile, platform=platform, options=options, settings=settings)
    if html is not None:
        from soci.start.page import make_page  # noqa: PLC0415 - only here

        write_atomically(html, (make_page(report),))
    if as_json:
        print_json(report_document(report))
    else:
        print_report(report, files=files)
