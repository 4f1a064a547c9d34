from __future__ import annotations

import json
import subprocess
import sys

import pytest

SHOW = "import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
MODULES = [
    "service.settings.configuration",
    "service.settings.schema",
    "service.outcomes",
    "service.messages",
    "build.plan",
    "service.filter.requests",
    "service.filter.rules",
    "index.classify",
    "service.filter.up_to_date",
    "service.filter.decide",
]
TOO_HEAVY = {"boto3", "botocore", "urllib3", "rich", "typer", "zstandard", "aws_lambda_powertools", "aws_cdk"}
ENGINE = {"ctypes", "zlib_ng", "soci.layer.inflate", "soci.layer.gzip", "soci.layer.tar", "soci.ztoc.indexer"}
"""What reads layers: the filter plans them by their descriptors alone."""


@pytest.mark.parametrize("name", MODULES)
def test_importing_a_part_of_the_filter_loads_nothing_heavy(name):
    command = [sys.executable, "-c", SHOW.format(module=f"soci.{name}")]

    loaded = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert f"soci.{name}" in loaded
    assert not TOO_HEAVY & {module.partition(".")[0] for module in loaded}
    assert not ENGINE & set(loaded)


def test_settings_are_read_without_the_engine():
    command = [sys.executable, "-c", SHOW.format(module="soci.service.settings.configuration")]

    loaded = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    ours = [module for module in loaded if module.startswith("soci.")]
    assert ours == [
        "soci.errors",
        "soci.oci",
        "soci.oci.json_value",
        "soci.service",
        "soci.service.settings",
        "soci.service.settings.configuration",
        "soci.service.settings.schema",
        "soci.settings",
    ]
