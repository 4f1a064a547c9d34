"""`soci-index check-task`: whether Fargate would load the images of an ECS task lazily."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from soci.cli import options
from soci.cli.json_files import SettingsOption, read_json, read_settings
from soci.cli.repositories import EcrHostOption, Inventories
from soci.cli.terminal import print_json, print_lines, print_table
from soci.errors import InvalidOption, InvalidRequest
from soci.upkeep.check_task.definition import TaskDefinition, parse_task_definition
from soci.upkeep.check_task.evaluate import LATEST, Circumstances, evaluate_task
from soci.upkeep.check_task.verdicts import Loading, Verdict

_VERSION = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}")


def check_task(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="TASK_DEFINITION.json",
            help="A task definition, or the output of `aws ecs describe-task-definition`.",
        ),
    ],
    *,
    containers: Annotated[
        list[str] | None,
        typer.Option("--container", metavar="NAME", help="Check only this container; may be repeated."),
    ] = None,
    platform_version: Annotated[
        str,
        typer.Option("--platform-version", metavar="VERSION", help="Version of Fargate: LATEST, 1.4.0, ..."),
    ] = LATEST,
    account_has_v1: Annotated[
        bool,
        typer.Option(
            "--account-has-v1", help="The account used SOCI before version 2, so it may use version 1."
        ),
    ] = False,
    settings: SettingsOption = None,
    ecr_hosts: EcrHostOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show for each container of an ECS task definition whether Fargate would load its image lazily, or why not.

    The exit status is 1 if an image would not be loaded lazily. With --container only the named containers count.
    """
    if platform_version != LATEST and not _VERSION.fullmatch(platform_version):
        raise InvalidOption(
            f"platform version {platform_version!r}: want {LATEST} or a version such as 1.4.0"
        )
    task = _read_task_definition(file)
    circumstances = Circumstances(
        configuration=read_settings(settings),
        open_registry=Inventories(ecr_hosts).open,
        platform_version=platform_version,
        account_has_v1=account_has_v1,
    )
    unknown = set(containers or ()) - {one.name for one in task.containers}
    if unknown:
        there = ", ".join(one.name for one in task.containers)
        raise InvalidOption(f"there is no container {', '.join(sorted(unknown))}; there are {there}")
    verdicts = list(evaluate_task(task.only(containers) if containers else task, circumstances))
    if as_json:
        print_json(
            {
                "family": task.family,
                "platform": str(task.platform),
                "containers": [one.to_document() for one in verdicts],
            }
        )
    else:
        _print(verdicts)
    if any(one.loading is not Loading.LAZY for one in verdicts):
        raise typer.Exit(1)


def _read_task_definition(file: Path) -> TaskDefinition:
    document = read_json(file)
    try:
        return parse_task_definition(document)
    except InvalidRequest as error:
        raise InvalidRequest(f"{file}: {error}") from None


def _print(verdicts: Sequence[Verdict]) -> None:
    rows = [(one.container, one.loading, str(one.reason or "-"), one.image) for one in verdicts]
    print_table(("CONTAINER", "LOADED", "REASON", "IMAGE"), rows)
    for one in verdicts:
        sentence = one.reason.sentence if one.reason else "Loaded lazily:"
        print_lines([f"  {one.container}: {sentence}" + (f" {one.detail}" if one.detail else "")])
