"""`soci-index status`: the images of repositories, and whether each has an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import SettingsOption, read_settings
from soci.cli.repositories import EcrHostOption, Inventories, RepositoriesArgument
from soci.cli.terminal import age_text, count_text, print_json, print_lines, print_table, short, size_text
from soci.upkeep.status.repository_status import fetch_status
from soci.upkeep.status.states import ImageStatus, IndexState

_COLUMNS = ("REPOSITORY", "TAG", "STATE", "VERSION", "INDEX", "AGE", "SIZE", "REASON")


def status(
    repositories: RepositoriesArgument,
    *,
    settings: SettingsOption = None,
    only: Annotated[
        list[IndexState] | None,
        typer.Option("--only", metavar="STATE", help="Show only images in this state; may be repeated."),
    ] = None,
    ecr_hosts: EcrHostOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """List the images of repositories, and whether each has the index that the settings ask for.

    In ECR the list comes from its API, with the time of each push; in other registries from the tags.
    """
    configuration = read_settings(settings)
    images = [
        image
        for inventory, name in Inventories(ecr_hosts).find(repositories)
        for image in fetch_status(inventory, name, configuration)
    ]
    counts = Counter(image.state for image in images)
    shown = [image for image in images if not only or image.state in only]
    now = datetime.now(UTC)
    if as_json:
        print_json(
            {
                "images": [image.to_document(now) for image in shown],
                "summary": {state: counts[state] for state in IndexState if counts[state]},
            }
        )
        return
    if shown:
        rows = [_row(image, now) for image in shown]
        print_table(_COLUMNS, rows, right=("AGE", "SIZE"))
    print_lines(_summary(shown, counts))


def _row(image: ImageStatus, now: datetime) -> tuple[str, ...]:
    return (
        image.repository,
        image.tag,
        image.state,
        "+".join(image.versions) or "-",
        image.index_tag or (f"@{short(image.index_digest)}" if image.index_digest else "-"),
        age_text((now - image.pushed_at).total_seconds()) if image.pushed_at else "-",
        "-" if image.size_bytes is None else size_text(image.size_bytes),
        _reason(image),
    )


def _reason(image: ImageStatus) -> str:
    if image.reason is not None:
        return f"{image.reason}: {image.detail}" if image.detail else str(image.reason)
    if image.state is IndexState.PARTLY:
        lacking = [platform for platform, versions in image.platforms.items() if not versions]
        return f"without: {', '.join(lacking)}" if lacking else "a version is missing"
    return image.detail


def _summary(shown: Sequence[ImageStatus], counts: Counter[IndexState]) -> list[str]:
    """Count all states, and explain each state that is shown once."""
    states = ", ".join(f"{counts[state]} {state}" for state in IndexState if counts[state])
    lines = [f"{count_text(counts.total(), 'image')}" + (f": {states}" if states else "")]
    seen = {image.state for image in shown} - {IndexState.INDEXED}
    return lines + [f"  {state}: {state.sentence}" for state in IndexState if state in seen]
