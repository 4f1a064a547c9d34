from __future__ import annotations

from typing import Any

import pytest

from soci.upkeep.check_task.definition import TaskDefinition, parse_task_definition


def parse(**fields: Any) -> TaskDefinition:
    return parse_task_definition({"containerDefinitions": [{"name": "web", "image": "app"}], **fields})


@pytest.mark.parametrize(
    ("family", "system"), [("LINUX", "linux"), ("WINDOWS_SERVER_2019_FULL", "windows"), (None, "linux")]
)
def test_every_windows_family_is_windows(family, system):
    assert parse(runtimePlatform={"operatingSystemFamily": family}).platform.os == system


@pytest.mark.parametrize(
    ("launch_types", "is_for_fargate"),
    [(["EC2"], False), (["EC2", "FARGATE"], True), ([], True), (None, True)],
)
def test_a_task_without_launch_types_may_run_on_fargate(launch_types, is_for_fargate):
    assert parse(requiresCompatibilities=launch_types).is_for_fargate is is_for_fargate
