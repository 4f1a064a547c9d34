"""The page on start profiles: its commands run, its examples parse, its tables are complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile, parse_profile
from tests.builders import file, gzip_of, image_of, layout_of, tar_of
from tests.docs.manual import DOCS, blocks
from tests.docs.terminal import terminal

PAGE = "profiles.md"
COMMANDS = {block.heading: block.text for block in blocks(PAGE, "bash")}
DOCUMENTS = {block.heading: json.loads(block.text) for block in blocks(PAGE, "json")}
TASK = DOCUMENTS["On Fargate"]
PROFILE = DOCUMENTS["The format"]
SERVER = b"#!/bin/sh\nread -r line < settings\necho $line\ncat page > /dev/null\n"
REGION = "eu-central-1"


@pytest.fixture
def directory(tmp_path):
    """A directory with a program, the image that holds it at the same path, and recordings."""
    here = str(tmp_path).lstrip("/")
    contents = {"server": SERVER, "settings": b"port 80\n", "page": b"x" * 20_000}
    layer = tar_of(*(file(f"{here}/{name}", data, mode=0o755) for name, data in contents.items()))
    layout_of(tmp_path / "app", image_of(gzip_of(layer)))
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o755)
    line = re.search(r'^ +(\{"level".*\})$', (DOCS / PAGE).read_text(), re.MULTILINE)
    assert line is not None
    log = (line[1].replace("usr/bin/python3.11", f"{here}/{name}") for name in ("page", "settings"))
    (tmp_path / "snapshotter.log").write_text("\n".join(log))
    (tmp_path / "soci-index").symlink_to(Path(sys.executable).with_name("soci-index"))
    return tmp_path


@pytest.fixture
def shell(directory):
    def run(heading):
        path = f"{directory}:/usr/bin:/bin"
        command = ["bash", "-euo", "pipefail", "-c", COMMANDS[heading]]
        return subprocess.run(
            command, cwd=directory, env={"PATH": path}, check=True, capture_output=True, text=True
        )

    return run


def files_in(path):
    return {Path(one.path.decode()).name: one for one in parse_profile(path.read_bytes()).files}


def test_a_program_is_recorded_with_strace_and_imported(shell, directory):
    shell("With strace")

    files = files_in(directory / "start.json")
    assert set(files) == {"server", "settings", "page"}
    assert [(one.start, one.end) for one in files["page"].ranges] == [(0, 20_000)]
    assert parse_profile((directory / "start.json").read_bytes()).program == bytes(directory / "server")
    assert "port 80" not in (directory / "trace").read_text()


def test_the_log_of_the_snapshotter_is_imported(shell, directory):
    shell("From the snapshotter's log")

    assert all(one.ranges == () for one in files_in(directory / "start.json").values())
    assert set(files_in(directory / "start.json")) == {"page", "settings"}


def test_profiles_are_merged_pushed_and_pulled(shell, directory):
    shell("With strace")
    for number in (1, 2, 3):
        shutil.copy(directory / "start.json", directory / f"start-{number}.json")

    shell("Merge several starts")
    shell("Give it to an image")

    assert parse_profile((directory / "start.json").read_bytes()).starts == 3
    assert (directory / "pulled.json").read_bytes() == (directory / "start.json").read_bytes()


def test_the_task_asks_for_what_fargate_allows():
    shape = boto3.client("ecs", region_name=REGION).meta.service_model.operation_model(
        "RegisterTaskDefinition"
    )
    (container,) = TASK["containerDefinitions"]

    assert not ParamValidator().validate(TASK, shape.input_shape).has_errors()
    assert TASK["requiresCompatibilities"] == ["FARGATE"]
    assert container["linuxParameters"] == {"capabilities": {"add": ["SYS_PTRACE"]}}


def test_the_log_of_the_task_is_imported(directory):
    (container,) = TASK["containerDefinitions"]
    done = subprocess.run(
        [*container["entryPoint"], "./server"], cwd=directory, capture_output=True, text=True, check=True
    )
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]

    def events(asked):
        assert asked["logGroupName"] == container["logConfiguration"]["options"]["awslogs-group"]
        assert asked["logStreamName"] == f"start/{container['name']}/0123"
        return {"events": [{"timestamp": 1, "message": line} for line in lines]}

    script = "TASK=0123\n" + COMMANDS["On Fargate"].replace("--image app:1.4", "--image oci:app")
    with (
        mock_aws(),
        terminal(directory, region=REGION, answers={("logs", "GetLogEvents"): events}) as account,
    ):
        result = account.run(script)

    assert result.returncode == 0, result.stderr
    assert set(files_in(directory / "start.json")) == {"server", "settings", "page"}


def test_the_example_is_a_profile_that_is_written_as_it_stands():
    profile = parse_profile(json.dumps(PROFILE).encode())

    assert json.loads(encode_profile(profile)) == PROFILE
    assert profile.files[1].path == b"/opt/caf\xe9.txt"


def test_the_table_lists_each_field_that_is_written():
    section = (DOCS / PAGE).read_text().partition("\n## The format\n")[2].partition("\n## ")[0]
    table = section.partition("\n| field | value |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| `([a-z_0-9.\[\]]+)` \|", table, re.MULTILINE)
    one = FileRead(
        path=b"/a",
        first_ms=0,
        last_ms=1,
        size_bytes=9,
        ranges=(ReadRange(start=0, end=1, first_ms=0),),
        layer=digest_of(b""),
        spans=(1,),
    )
    platform = Platform(os="linux", architecture="amd64")
    written = [
        encode_profile(make_profile([read], image=digest_of(b""), platform=platform, program=read.path))
        for read in (one, FileRead(path=b"/\xff", first_ms=0, last_ms=1))
    ]

    assert set(names) == {name for data in written for name in fields_of(json.loads(data))}
    assert len(names) == len(set(names))


def fields_of(document, prefix=""):
    for name, value in document.items():
        if name in {"image", "ranges", "files"}:
            if name == "files":
                yield name
            if name == "ranges":
                yield f"{prefix}{name}"
            for child in value if isinstance(value, list) else [value]:
                yield from fields_of(child, f"{prefix}{name}{'[]' if isinstance(value, list) else ''}.")
        else:
            yield prefix + name
