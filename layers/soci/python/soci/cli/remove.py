"""`soci-index remove`: remove the index of an image and keep the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import typer

from soci.build.tagging import TagLeftAlone
from soci.cli import options
from soci.cli.endpoints import CONVERTED_SUFFIX, Endpoints, open_endpoints, source_tag
from soci.cli.terminal import print_error, print_json, print_lines
from soci.image.documents import fetch_image
from soci.places.open import open_source
from soci.upkeep.remove import Removal, RemovalResult, TaggedSource, Target, fetch_removal, remove_index


def remove(
    image: options.ImageArgument,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Remove the SOCI index of an image, of either version, and keep the image.

    Manifests that another tag leads to stay. After an interruption, run the same command again: it resumes.
    """
    target = open_target(open_endpoints(image, None))
    removal = fetch_removal(target)
    result = None if dry_run or removal.is_empty else remove_index(target, removal)
    if as_json:
        print_json(_document(target, removal, result))
    else:
        print_lines(list(_lines(target, removal, result)))
    if removal.is_empty:
        print_error(f"{image} has no SOCI index of its own: nothing to remove")
    for problem in () if result is None else _problems(image, result):
        print_error(problem)
    if removal.is_empty or (result is not None and not result.is_done):
        raise typer.Exit(1)


def open_target(endpoints: Endpoints) -> Target:
    """Find the image, and the tag that `convert` gives its converted image."""
    found = fetch_image(endpoints.source)
    tag = source_tag(endpoints, found.root)
    converted = None
    if tag is not None and not tag.endswith(CONVERTED_SUFFIX):
        converted_tag = tag + CONVERTED_SUFFIX
        source = open_source(replace(endpoints.source_reference, tag=converted_tag))
        converted = TaggedSource(source=source, tag=converted_tag)
    return Target(store=endpoints.sink, image=found, tag=tag, converted=converted)


def _tags_that_go(target: Target, removal: Removal) -> list[str]:
    return [target.converted.tag] if target.converted and removal.converted else []


def _document(target: Target, removal: Removal, result: RemovalResult | None) -> dict[str, object]:
    return {
        "dry_run": result is None,
        "tags": _tags_that_go(target, removal),
        "manifests": [str(manifest.digest) for manifest in removal.manifests],
        "blobs": [str(digest) for digest in removal.blobs],
        "needed": {str(digest): list(names) for digest, names in removal.still_referenced.items()},
        "shared_with": list(removal.shared_with),
        "replacement": str(removal.replacement[-1].descriptor.digest) if removal.replacement else None,
        "goes_on": bool(removal.interrupted),
        "left_alone": result.left_alone if result else None,
        "refused": {str(one.digest): one.error for one in result.refused} if result else {},
        "blobs_freed": result.blobs_freed if result else 0,
    }


def _lines(target: Target, removal: Removal, result: RemovalResult | None) -> Iterator[str]:
    if result is not None and result.left_alone is not None:
        return
    verb = "would remove" if result is None else "removed"
    stays = {one.digest for one in result.refused} if result else set()
    if removal.interrupted:
        yield f"{'would resume' if result is None else 'resumed'} an interrupted removal"
    for tag in _tags_that_go(target, removal):
        yield f"{verb} tag {tag}"
    for manifest in removal.manifests:
        if manifest.digest not in stays:
            yield f"{verb} manifest {manifest.digest}"
    for digest, names in removal.still_referenced.items():
        yield f"manifest {digest} stays: {', '.join(names)} leads to it"
    if removal.shared_with:
        yield f"{', '.join(removal.shared_with)} had the same index of version 1"
    if removal.replacement:
        name = f", tag {target.tag}" if target.tag else ""
        yield f"the image without its index: {removal.replacement[-1].descriptor.digest}{name}"
    if result is not None:
        yield f"freed {result.blobs_freed} blobs; a registry deletes zTOCs by itself"


def _problems(image: str, result: RemovalResult) -> Iterator[str]:
    if result.left_alone is TagLeftAlone.SOURCE_MOVED:
        yield f"{image}: its tag, or that of its converted image, names another image now; nothing was removed"
    elif result.left_alone is not None:
        yield f"{image}: nothing was removed. {result.left_alone.sentence}"
    for refusal in result.refused:
        yield f"manifest {refusal.digest} stays: {refusal.error}"
    if result.refused:
        yield f"run the same command again to remove the rest of {image}"
