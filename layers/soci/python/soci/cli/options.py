"""Arguments and flags that several commands share, with the owner's names where the owner has them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
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
        raise typer.BadParameter(f"{text!r} is no size; write bytes or a unit, such as 4194304, 4MiB or 512k")
    return int(match[1]) * _FACTORS[match[2][:1].lower()]


def number_between(least: float, most: float) -> Callable[[str | float], float]:
    """Return a parser of numbers within bounds: `nan` and `inf` are none. It raises typer.BadParameter."""

    def parse_number(text: str | float) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most:  # as nan never is
            raise typer.BadParameter(f"{str(text)[:40]!r} is no number from {least:,.10g} to {most:,.10g}")
        return number

    return parse_number


def _default_jobs() -> int:
    return min(os.cpu_count() or 1, 4)


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
        help="where to write, [HOST/]NAME[:TAG] or oci:DIR[:TAG]; without it the source is written to",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
PlatformOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="Index this platform; may be repeated."
    ),
]
AllPlatformsOption = Annotated[
    bool, typer.Option("--all-platforms", help="Index every platform of the image, not just this machine's.")
]
SpanSizeOption = Annotated[
    int,
    typer.Option("--span-size", parser=parse_size, metavar="SIZE", help="Distance of checkpoints."),
]
MinLayerSizeOption = Annotated[
    int,
    typer.Option("--min-layer-size", parser=parse_size, metavar="SIZE", help="Leave smaller layers out."),
]
OptimizationsOption = Annotated[
    list[Optimization] | None,
    typer.Option("--optimizations", help="Say of layers without extended attributes that they have none."),
]
PrefetchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prefetch-file", metavar="PATH", help="File, directory or glob to fetch at start; may be repeated."
    ),
]
BuildToolOption = Annotated[
    str, typer.Option("--build-tool", metavar="TEXT", help="Build tool identifier, part of every digest.")
]
MultiMemberOption = Annotated[
    MultiMember, typer.Option("--multi-member", help="What to do with gzip layers of several members.")
]
ZstdOption = Annotated[
    ZstdLayers, typer.Option("--zstd", help="What to do with zstd layers; convert can make gzip copies.")
]
GzipLevelOption = Annotated[
    int, typer.Option("--gzip-level", min=1, max=MAX_GZIP_LEVEL, help="Of gzip copies, 9 is the smallest.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, max=MAX_JOBS, help="Layers to index at the same time.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Keep zTOCs here, and use those that are: a layer is read once. Damage is found, but the directory is "
        "trusted: who may write to it decides what an index says. Not for zstd layers.",
        file_okay=False,
    ),
]

DEFAULT_JOBS = _default_jobs()


def settings_of(
    *,
    span_size: int = DEFAULT_SPAN_SIZE_BYTES,
    min_layer_size: int = DEFAULT_MIN_LAYER_SIZE_BYTES,
    optimizations: list[Optimization] | None = None,
    prefetch_files: list[str] | None = None,
    build_tool: str = DEFAULT_BUILD_TOOL_IDENTIFIER,
    multi_member: MultiMember = MultiMember.INDEX,
    zstd: ZstdLayers = ZstdLayers.LEAVE_OUT,
    gzip_level: int = DEFAULT_GZIP_LEVEL,
) -> IndexSettings:
    """Return the settings that the flags describe. Raises InvalidOption."""
    return IndexSettings(
        span_size_bytes=span_size,
        min_layer_size_bytes=min_layer_size,
        build_tool_identifier=build_tool,
        optimizations=frozenset(optimizations or ()),
        prefetch_patterns=tuple(prefetch_files or ()),
        multi_member=multi_member,
        zstd_layers=zstd,
        gzip_level=gzip_level,
    )


def platforms_of(platforms: list[str] | None, *, all_platforms: bool) -> list[Platform] | Platforms:
    """Return what --platform and --all-platforms ask for. Raises InvalidOption."""
    if platforms and all_platforms:
        raise InvalidOption("--platform and --all-platforms exclude each other")
    if platforms:
        return [Platform.parse(text) for text in platforms]
    return Platforms.ALL if all_platforms else Platforms.HOST
