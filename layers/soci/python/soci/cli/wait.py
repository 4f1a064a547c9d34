"""`soci-index wait`: wait for the index of an image, in a pipeline between push and deployment."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Annotated, Literal

import typer

from soci.cli import options
from soci.cli.json_files import DEFAULT_SETTINGS, SettingsOption, read_settings
from soci.cli.terminal import print_error, print_json, print_lines
from soci.errors import InvalidReference
from soci.oci.reference import DEFAULT_TAG, RegistryRef, parse_reference
from soci.places.registry.retry import Clock
from soci.service.settings.configuration import Configuration, TagPolicy
from soci.upkeep.status.wait import Wait

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(|s|m|h)", re.ASCII | re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
DEFAULT_TIMEOUT_SECONDS = 600.0


def parse_duration(text: str | float) -> float:
    """Read seconds, or a number with a unit: 90, 90s, 10m, 1h. Raises typer.BadParameter."""
    match = _DURATION.fullmatch(str(text).strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a time; write seconds or a unit, such as 90s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2].lower()]


def wait(
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="in a registry: [HOST/]NAME[:TAG]", show_default=False),
    ],
    *,
    timeout: Annotated[
        float,
        typer.Option(
            parser=parse_duration, metavar="TIME", help="Give up after this time, as 90s, 10m or 1h."
        ),
    ] = DEFAULT_TIMEOUT_SECONDS,
    settings: SettingsOption = None,
    tag_policy: Annotated[
        TagPolicy | None, typer.Option("--tag-policy", help="Overrides the settings' policy.")
    ] = None,
    suffix: Annotated[
        str | None, typer.Option("--suffix", metavar="TEXT", help="Overrides the settings' suffix.")
    ] = None,
    index_version: Annotated[
        Literal["v1", "v2", "both"] | None,
        typer.Option("--index-version", help="Overrides the settings' version."),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Wait until a pushed image has its index, then print the image to deploy.

    Exit status 0: the index exists, or nothing was to be indexed and the promised tag names the image itself.
    1: there is no index, and the message says why. Images that the settings (--settings or ./cdk.json) leave out end
    the wait.
    """
    from soci.places.registry.connect import connect  # noqa: PLC0415 - --help needs no HTTP client

    reference = _parse(image)
    configuration = _changed(read_settings(settings), tag_policy, suffix, index_version)
    asks_rules = settings is not None or DEFAULT_SETTINGS.is_file()
    begun = time.monotonic()
    waiting = Wait.begin(
        reference.repository,
        reference.tag or DEFAULT_TAG,
        configuration,
        connect(reference.host).open_image,
        asks_rules=asks_rules,
    )
    found = waiting.until(timeout, Clock())
    if as_json:
        report = {"image": image, "image_digest": str(waiting.image.root.digest), **found.to_document()}
        print_json(report | {"seconds": round(time.monotonic() - begun, 1)})
    elif found.end.is_ready:
        print_lines([f"{reference.name}:{found.tag}"])
    if not found.end.is_ready:
        why = ": ".join(part for part in (found.reason, found.detail) if part)
        print_error(f"{image}: {found.end.sentence}" + (f" ({why})" if why else ""))
        raise typer.Exit(1)


def _parse(image: str) -> RegistryRef:
    reference = parse_reference(image)
    if not isinstance(reference, RegistryRef) or reference.digest is not None:
        raise InvalidReference(
            f"{image}: want an image in a registry, by its tag; others do not get an index while one waits"
        )
    return reference


def _changed(
    settings: Configuration,
    tag_policy: TagPolicy | None,
    suffix: str | None,
    index_version: str | None,
) -> Configuration:
    """Replace settings by flags. Raises `InvalidOption` if they contradict each other."""
    tagging = replace(
        settings.tagging,
        policy=tag_policy or settings.tagging.policy,
        suffix=suffix or settings.tagging.suffix,
    )
    index = replace(settings.index, version=index_version or settings.index.version)
    return replace(settings, tagging=tagging, index=index)
