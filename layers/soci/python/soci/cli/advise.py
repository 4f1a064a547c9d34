"""`soci-index advise`: what to do so that an image starts fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soci.cli.network_options import EstimateOptions
from soci.cli.opened_start import open_start
from soci.cli.options import ImageArgument, JsonOption, MinLayerSizeOption, SpanSizeOption
from soci.cli.start_document import advice_documents, estimate_documents, network_document
from soci.cli.terminal import print_json, print_lines
from soci.settings import DEFAULT_MIN_LAYER_SIZE_BYTES, DEFAULT_SPAN_SIZE_BYTES, IndexSettings

ProfileArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PROFILE]",
        help="A start profile in a file; by default the one that was pushed for the image.",
        show_default=False,
    ),
]
OnePlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="Choose a platform of a multi-platform image."
    ),
]


def advise(
    image: ImageArgument,
    profile: ProfileArgument = None,
    *,
    platform: OnePlatformOption = None,
    options: EstimateOptions,
    span_size: SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES,
    min_layer_size: MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES,
    as_json: JsonOption = False,
) -> None:
    """Say what to do so that an image starts fast, from a recorded start: one line for each question.

    An image without an index is read whole, as if it were indexed with --span-size and --min-layer-size.
    """
    settings = IndexSettings(span_size_bytes=span_size, min_layer_size_bytes=min_layer_size)
    report = open_start(image, profile, platform=platform, options=options, settings=settings)
    if as_json:
        print_json(
            {
                "image": str(report.image),
                "platform": str(report.platform),
                **network_document(report),
                "advice": advice_documents(report),
                "estimates": estimate_documents(report),
            }
        )
        return
    print_lines([one.sentence for one in report.advice])
    print_lines([f"(estimated for the {report.start.reader.name} at {report.start.network})"])
