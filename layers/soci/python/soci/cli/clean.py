"""`soci-index clean`: remove indexes whose image is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import SettingsOption, read_settings
from soci.cli.repositories import EcrHostOption, Inventories, RepositoriesArgument
from soci.cli.terminal import age_text, count_text, print_error, print_json, print_lines, print_table, short
from soci.errors import InvalidOption
from soci.service.settings.configuration import TagPolicy
from soci.upkeep.clean import CleanResult, Orphan, Orphans, Wanted, find_orphans, remove_orphans
from soci.upkeep.inventory import Inventory

_AGE = re.compile(r"(\d{1,5})\s*(min|h|d)")
_SECONDS = {"min": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cleaned:
    """The orphans of a repository, and the result of their removal; None after a dry run."""

    name: str
    orphans: Orphans
    result: CleanResult | None


def clean(
    repositories: RepositoriesArgument,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed.")] = False,
    tags: Annotated[
        bool,
        typer.Option(
            "--tags",
            help="Also remove tagged converted images, if the original tag and its image are gone.",
        ),
    ] = False,
    untagged: Annotated[
        bool,
        typer.Option(
            "--untagged", help="Also remove untagged converted images, if the original image is gone."
        ),
    ] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Keep younger ones: 30min, 12h, 1d.")
    ] = "1d",
    settings: SettingsOption = None,
    ecr_hosts: EcrHostOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Remove indexes whose image is gone: of version 1, and of version 2 if no image lists them. So are start profiles.

    Images stay. --tags and --untagged remove converted images too.
    """
    tagging = read_settings(settings).tagging
    if tags and tagging.policy is not TagPolicy.SUFFIX:
        raise InvalidOption(
            f"--tags: under the policy {tagging.policy} converted images have no tag of their own"
        )
    age = _parse_age(older_than)
    wanted = Wanted(
        suffix=tagging.suffix if tags else None,
        untagged_converted=untagged,
        pushed_before=datetime.now(UTC) - age if age else None,
    )
    found = list(Inventories(ecr_hosts).find(repositories))
    if tags and age:
        _refuse_without_times(inventory for inventory, _ in found)
    cleaned = [_clean(inventory, name, wanted, dry_run=dry_run) for inventory, name in found]
    if as_json:
        print_json({"dry_run": dry_run, "repositories": [_document(one) for one in cleaned]})
    else:
        _print(cleaned)
    for problem in (problem for one in cleaned for problem in _problems(one)):
        print_error(problem)
    if any(one.result and one.result.refused for one in cleaned):
        raise typer.Exit(1)


def _parse_age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(f"age {text!r}: want a number and a unit, such as 30min, 12h or 1d")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _refuse_without_times(inventories: Iterable[Inventory]) -> None:
    hosts = sorted({one.host for one in inventories if not one.has_api})
    if hosts:
        raise InvalidOption(
            f"--tags: {', '.join(hosts)} does not say when an image was pushed, so images that are being indexed "
            "cannot be kept. --older-than 0min removes them too. For ECR under another name add --ecr-host"
        )


def _clean(inventory: Inventory, name: str, wanted: Wanted, *, dry_run: bool) -> _Cleaned:
    orphans = find_orphans(inventory, name, wanted)
    result = None if dry_run else remove_orphans(inventory, name, orphans, wanted)
    return _Cleaned(name=name, orphans=orphans, result=result)


def _document(one: _Cleaned) -> dict[str, object]:
    result = one.result
    return {
        "repository": one.name,
        "found": [_orphan_document(orphan) for orphan in one.orphans.found],
        "removed": [str(orphan.digest) for orphan in result.removed] if result else [],
        "refused": {str(refusal.digest): refusal.error for refusal in result.refused} if result else {},
        "revived": [str(orphan.digest) for orphan in result.revived] if result else [],
        "kept": [
            {"tag": kept.tag, "digest": str(kept.digest), "reason": kept.reason} for kept in one.orphans.kept
        ],
        "unreadable": [str(digest) for digest in one.orphans.unreadable],
    }


def _orphan_document(orphan: Orphan) -> dict[str, object]:
    return {
        "kind": orphan.kind,
        "digest": str(orphan.digest),
        "tags": list(orphan.tags),
        "only_tags": orphan.is_tag_alone,
        "subject": None if orphan.subject is None else str(orphan.subject),
        "pushed_at": None if orphan.pushed_at is None else orphan.pushed_at.isoformat(),
    }


def _print(cleaned: list[_Cleaned]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            one.name,
            orphan.kind,
            short(orphan.digest),
            ", ".join(orphan.tags) or "-",
            age_text((now - orphan.pushed_at).total_seconds()) if orphan.pushed_at else "-",
            _fate(orphan, one.result),
        )
        for one in cleaned
        for orphan in one.orphans.found
    ]
    if rows:
        print_table(("REPOSITORY", "KIND", "MANIFEST", "TAGS", "AGE", "RESULT"), rows, right=("AGE",))
    print_lines(
        [
            f"{one.name}:{kept.tag} stays: {kept.reason.sentence}"
            for one in cleaned
            for kept in one.orphans.kept
        ]
    )
    removed = sum(len(one.result.removed) for one in cleaned if one.result)
    is_dry = any(one.result is None for one in cleaned)
    would_go = count_text(len(rows), "orphan")
    print_lines([f"{would_go} would go" if is_dry else f"{removed:,} of {would_go} removed"])


def _fate(orphan: Orphan, result: CleanResult | None) -> str:
    if result is None:
        return "would remove tag" if orphan.is_tag_alone else "would remove"
    if orphan in result.removed:
        return "removed tag" if orphan.is_tag_alone else "removed"
    return "in use again" if orphan in result.revived else "refused"


def _problems(one: _Cleaned) -> Iterator[str]:
    if one.orphans.unreadable:
        yield (
            f"{one.name}: {count_text(len(one.orphans.unreadable), 'manifest')} cannot be read (archived, broken), "
            "so indexes of version 2 that no other image lists are kept"
        )
    for refusal in one.result.refused if one.result else ():
        yield f"{one.name}: manifest {refusal.digest} stays: {refusal.error}"
