"""Options that say what is prefetched. The first two are those of the owner's command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from soci.cli.options import parse_size
from soci.errors import InvalidDocument, InvalidOption, InvalidRequest
from soci.oci import gojson
from soci.places.layout.extents import storage_errors
from soci.settings import DEFAULT_PREFETCH_BUDGET_BYTES, IndexSettings, WholeLayers

PATHS_LIMIT_BYTES = 16 << 20
"""Room for some hundred thousand paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The options of `create` and `convert` about the start of a container."""

    prefetch_file: Annotated[
        list[str] | None,
        typer.Option(
            "--prefetch-file",
            metavar="PATH[,PATH...]",
            help="File, directory or glob to fetch before the start; may be repeated.",
        ),
    ] = None
    prefetch_files_json: Annotated[
        Path | None,
        typer.Option(
            "--prefetch-files-json",
            metavar="FILE",
            help="A JSON list of such paths. They come behind those of --prefetch-file.",
        ),
    ] = None
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Start profile that decides what is prefetched; may be repeated, one for each platform. "
            "By default the profile that was pushed for the image.",
        ),
    ] = None
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Do not look for a profile of the image.")
    ] = False
    prefetch_budget: Annotated[
        int,
        typer.Option(
            "--prefetch-budget",
            parser=parse_size,
            metavar="SIZE",
            help="How many bytes a profile may have prefetched. The default arrives in 10 s at 75 MB/s.",
        ),
    ] = DEFAULT_PREFETCH_BUDGET_BYTES
    whole_layers: Annotated[
        WholeLayers,
        typer.Option(
            "--whole-layers",
            help="auto: a layer of which the profile reads nearly all gets no zTOC, if it then loads faster without "
            "prefetch.",
        ),
    ] = WholeLayers.NEVER
    start_first: Annotated[
        bool,
        typer.Option(
            "--start-first",
            help="convert writes layers anew with the profile's files in front. The converted image has a config of "
            "its own then; the original stays.",
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.profile and self.no_profile:
            raise InvalidOption("--profile and --no-profile exclude each other")

    def added_to(self, settings: IndexSettings) -> IndexSettings:
        """Return settings with these options.

        Raises:
            InvalidOption: a value is out of its range.
            InvalidRequest, StorageError: the list of paths is none, or cannot be read.
        """
        named = [path for value in self.prefetch_file or () for path in value.split(",")]
        if self.prefetch_files_json is not None:
            named += read_paths(self.prefetch_files_json)
        return replace(
            settings,
            prefetch_patterns=tuple(path.strip() for path in named if path.strip()),
            prefetch_budget_bytes=self.prefetch_budget,
            whole_layers=self.whole_layers,
            start_first=self.start_first,
        )


def read_paths(path: Path) -> list[str]:
    """Read a JSON list of paths, as the owner's command takes it: `null` stands for nothing.

    Raises:
        InvalidRequest: the file is no such list.
        StorageError: it cannot be read.
    """
    with storage_errors(path), path.open("rb") as file:
        data = file.read(PATHS_LIMIT_BYTES + 1)
    try:
        document = gojson.decode(data, "list of paths", limit_bytes=PATHS_LIMIT_BYTES)
    except InvalidDocument as error:
        raise InvalidRequest(f"{path}: {error}") from None
    if not isinstance(document, list | None):
        raise InvalidRequest(f"{path}: got {_kind(document)}, want a JSON list of paths")
    for number, one in enumerate(document or ()):
        if not isinstance(one, str | None):
            raise InvalidRequest(f"{path}: [{number}] is {_kind(one)}, want a path")
    return [one for one in document or () if one is not None]


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(
        type(value), "a number"
    )
