"""Options that several commands share. Names are those of the snapshotter's own command where it has them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from soci.errors import InvalidOption
from soci.image.documents import Platforms
from soci.oci.platform import Platform
from soci.settings import (
    DEFAULT_BUILD_TOOL_IDENTIFIER,
    DEFAULT_GZIP_LEVEL,
    DEFAULT_MIN_LAYER_SIZE_BYTES,
    DEFAULT_SPAN_SIZE_BYTES,
    MAX_GZIP_LEVEL,
    IndexSettings,
    MultiMember,
    Optimization,
    ZstdLayers,
)

_SIZE = re.compile(r"(\d{1,18})\s*(|[kmg]i?b?|b)", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

MAX_JOBS = 64


def parse_size(text: str | int) -> int:
    """Read a size in bytes, or with a binary unit: 4194304, 4MiB, 4M. Raises typer.BadParameter."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not a size; write bytes or a unit, such as 4194304, 4MiB or 512k"
        )
    return int(match[1]) * _FACTORS[match[2][:1].lower()]


def number_between(least: float, most: float) -> Callable[[str | float], float]:
    """Return a parser of numbers within bounds, without `nan` and `inf`. It raises typer.BadParameter."""

    def parse_number(text: str | float) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:  # nan is never between
            raise typer.BadParameter(f"{str(text)[:40]!r} is not a number from {least:,.10g} to {most:,.10g}")
        return number

    return parse_number


ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="in a registry [HOST/]NAME[:TAG|@DIGEST], or oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG|@DIGEST], "
        "docker-archive:FILE[:NAME:TAG]",
        show_default=False,
    ),
]
DestinationArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DEST",
        help="where to write, [HOST/]NAME[:TAG] or oci:DIR[:TAG]; without it the result is written beside the source",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
OnePlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="Choose a platform of a multi-platform image."
    ),
]
SpanSizeOption = Annotated[
    int,
    typer.Option("--span-size", parser=parse_size, metavar="SIZE", help="Bytes between checkpoints."),
]
MinLayerSizeOption = Annotated[
    int,
    typer.Option("--min-layer-size", parser=parse_size, metavar="SIZE", help="Leave out smaller layers."),
]
BuildToolOption = Annotated[
    str, typer.Option("--build-tool", metavar="TEXT", help="Build tool identifier, part of every digest.")
]
MultiMemberOption = Annotated[
    MultiMember, typer.Option("--multi-member", help="What to do with gzip layers of several members.")
]
ZstdOption = Annotated[
    ZstdLayers,
    typer.Option("--zstd", help="What to do with zstd layers; convert can recompress them to gzip."),
]

DEFAULT_JOBS = min(os.cpu_count() or 1, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOptions:
    """The options that choose platforms of an image."""

    platform: Annotated[
        list[str] | None,
        typer.Option(
            "--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="Index this platform; may be repeated."
        ),
    ] = None
    all_platforms: Annotated[
        bool,
        typer.Option("--all-platforms", help="Index every platform of the image, not just this machine's."),
    ] = False

    def platforms(self) -> list[Platform] | Platforms:
        """Return the platforms to index. Raises `InvalidOption`."""
        if self.platform and self.all_platforms:
            raise InvalidOption("--platform and --all-platforms exclude each other")
        if self.platform:
            return [Platform.parse(text) for text in self.platform]
        return Platforms.ALL if self.all_platforms else Platforms.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions(PlatformOptions):
    """The options of `create` and `convert`."""

    span_size: SpanSizeOption = DEFAULT_SPAN_SIZE_BYTES
    min_layer_size: MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES
    optimizations: Annotated[
        list[Optimization] | None,
        typer.Option(
            "--optimizations",
            help="Mark layers that have no extended attributes, so that the reader skips them.",
        ),
    ] = None
    build_tool: BuildToolOption = DEFAULT_BUILD_TOOL_IDENTIFIER
    multi_member: MultiMemberOption = MultiMember.INDEX
    zstd: ZstdOption = ZstdLayers.LEAVE_OUT
    gzip_level: Annotated[
        int,
        typer.Option(
            "--gzip-level",
            min=1,
            max=MAX_GZIP_LEVEL,
            help="Compression of recompressed layers; 9 is the smallest.",
        ),
    ] = DEFAULT_GZIP_LEVEL
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, max=MAX_JOBS, help="Layers to index at the same time.")
    ] = DEFAULT_JOBS
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Keep zTOCs in this directory and reuse them: a layer is read once. Damage is found, but the "
            "directory is trusted: whoever may write to it decides what an index says. Not for zstd layers.",
            file_okay=False,
        ),
    ] = None

    def settings(self) -> IndexSettings:
        """Return the settings of the index. Raises `InvalidOption`."""
        return IndexSettings(
            span_size_bytes=self.span_size,
            min_layer_size_bytes=self.min_layer_size,
            build_tool_identifier=self.build_tool,
            optimizations=frozenset(self.optimizations or ()),
            multi_member=self.multi_member,
            zstd_layers=self.zstd,
            gzip_level=self.gzip_level,
        )
