"""`soci-index remove`: take the index of an image away and leave the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.places import CONVERTED_SUFFIX, open_places, source_tag
from soci.cli.terminal import print_error, print_json, print_lines
from soci.fetch import fetch_image
from soci.oci.reference import Reference
from soci.open import open_source
from soci.ports import ImageSource
from soci.remove import Removal, fetch_removal, remove_index


def remove(
    image: options.ImageArgument,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Take the SOCI index of an image away, of either version, and leave the image."""
    places = open_places(image, None)
    found = fetch_image(places.source)
    tag = source_tag(places, found.root)
    removal = fetch_removal(places.source, found, _converted(places.source_reference, tag))
    freed = 0 if dry_run or removal.is_empty else remove_index(places.sink, removal, tag=tag)
    if as_json:
        print_json(_document(removal, freed, dry_run=dry_run))
    else:
        print_lines(_lines(removal, freed, dry_run=dry_run))
    if removal.is_empty:
        print_error(f"{image} has no SOCI index: nothing to remove")
        raise typer.Exit(1)


def _converted(reference: Reference, tag: str | None) -> ImageSource | None:
    """Open the place of the SOCI-enabled copy, by the tag that `convert` gives it."""
    if tag is None or tag.endswith(CONVERTED_SUFFIX):
        return None
    return open_source(replace(reference, tag=tag + CONVERTED_SUFFIX))


def _document(removal: Removal, freed: int, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "manifests": [str(manifest.digest) for manifest in removal.manifests],
        "blobs": [str(blob.digest) for blob in removal.blobs],
        "blobs_freed": freed,
        "replacement": str(removal.replacement[-1].descriptor.digest) if removal.replacement else None,
    }


def _lines(removal: Removal, freed: int, *, dry_run: bool) -> list[str]:
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} manifest {manifest.digest}" for manifest in removal.manifests]
    if removal.replacement:
        lines.append(f"the image without its index: {removal.replacement[-1].descriptor.digest}")
    if not dry_run and not removal.is_empty:
        lines.append(f"freed {freed} blobs; a registry frees zTOCs by itself")
    return lines
