"""The README: its commands run and print the lines shown. A registry in memory takes the names of its registries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.registry import Registry
from soci.oci.compression import Compression
from soci.service.layer_messages import LayerItem
from soci.start.profile import FileRead, encode_profile, make_profile
from soci.upkeep.estimate.one_image import DEFAULT_SIZES, Assumptions, layer_seconds
from tests.aws_environment import variables_for
from tests.builders import file, gzip_of, image_of, layout_of, noise, tar_of
from tests.docs.manual import DOCS
from tests.image_files import Image, write_docker_archive
from tests.unit.service.places import in_memory

README = (DOCS.parent / "README.md").read_text()
TERMINAL = README.partition("\n## At the terminal\n")[2].partition("\n## ")[0]
SHOWN = re.findall(r"^    \$ (.+)\n(?:      (\S.*)\n)?", TERMINAL, re.MULTILINE)
"""Each command, and the line of its output that is shown."""
LINES = [line for line, _ in SHOWN]
MAX_LINES = 130
MAX_SECONDS = 900
"""The limit of an invocation of Lambda."""
REGISTRIES = ("registry.example.com", "123456789012.dkr.ecr.eu-central-1.amazonaws.com")

LAYER_TAR = tar_of(file("etc/os-release", b"ID=readme\n"), file("usr/bin/app", noise(11 << 20)))
"""Larger than the default minimum layer size."""
LAYER = gzip_of(LAYER_TAR, level=1)
IMAGE = image_of(LAYER)
EVENT = (DOCS.parent / "tests" / "events" / "push.json").read_bytes()


@pytest.fixture
def registry():
    with in_memory() as place:
        for repository in ("app", "team/app"):
            place.put(repository, IMAGE, "1.4")
        yield place.registry


def put_files(directory: Path, registry: Registry) -> None:
    """Write the files that the commands name."""
    layout_of(directory / "app", IMAGE)
    (directory / "layer.tar.gz").write_bytes(LAYER)
    (directory / "event.json").write_bytes(EVENT)
    start = FileRead(path=b"/etc/os-release", first_ms=0, last_ms=0)
    (directory / "start.json").write_bytes(encode_profile(make_profile([start])))
    task = {"containerDefinitions": [{"name": "app", "image": f"{registry.host}/app:1.4-soci"}]}
    (directory / "task-definition.json").write_text(json.dumps(task))


def put_archive(directory: Path, line: str) -> None:
    """Write `app.tar`, of the kind that the command names."""
    if "docker-archive:app.tar" in line:
        write_docker_archive(directory / "app.tar", Image(layers=(LAYER_TAR,)), "app:latest")
    elif "oci-archive:app.tar" in line:
        made = shutil.make_archive(str(directory / "made"), "tar", layout_of(directory / "one", IMAGE))
        Path(made).rename(directory / "app.tar")


def test_every_command_of_the_readme_runs_and_prints_its_line(registry, tmp_path):
    put_files(tmp_path, registry)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **variables_for(registry), "SOCI_REGISTRY": registry.host, "PATH": path}
    variables, failed = "", {}
    for line, shown in SHOWN:
        if needs_fuse(line) and not Path("/dev/fuse").exists():
            continue
        put_archive(tmp_path, line)
        command = line
        for name in REGISTRIES:
            command = command.replace(name, registry.host)
        if re.match(r"\w+=", command):
            variables += f"{command}\n"
            continue
        done = subprocess.run(
            ["bash", "-euc", variables + command],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=60,
        )
        if done.returncode or not has_line(done.stdout.replace(registry.host, REGISTRIES[0]), shown):
            failed[line] = done.stdout + done.stderr

    assert failed == {}


def needs_fuse(line: str) -> bool:
    """Tell whether a command mounts, or reads what is mounted."""
    return re.search(r"\broot\b", line) is not None


def has_line(output: str, shown: str) -> bool:
    """Tell whether a line of the output matches. `...` stands for any text; spaces count as one."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in shown.split("..."))
    return any(
        re.fullmatch(pattern.replace(r"\ .*", ".*"), " ".join(line.split())) for line in output.splitlines()
    )


def test_every_command_is_shown_with_a_line_of_its_output():
    assert [line for line, shown in SHOWN if not shown and line.startswith("soci-index ")] == []


def test_the_readme_can_be_read_in_one_visit():
    assert README.count("\n") < MAX_LINES


def gigabyte(compression: Compression) -> LayerItem:
    return LayerItem(digest=IMAGE.root.digest, size=10**9, compression=compression)


def test_the_largest_layer_is_what_an_invocation_can_read():
    call_seconds = Assumptions().call_seconds
    sizes = {}
    for compression in (Compression.GZIP, Compression.ZSTD):
        per_gb = layer_seconds(gigabyte(compression), DEFAULT_SIZES, Assumptions()) - call_seconds
        sizes[compression] = int((MAX_SECONDS - call_seconds) / per_gb)

    assert f"{sizes[Compression.GZIP]} GB of gzip, or {sizes[Compression.ZSTD]} GB of zstd" in README


def test_the_readme_has_every_command():
    listed = subprocess.run(
        [Path(sys.executable).parent / "soci-index", "--help"], check=True, capture_output=True, text=True
    ).stdout
    commands = re.findall(r"^  ([a-z][a-z-]+) ", listed.partition("Commands:")[2], re.MULTILINE)

    assert commands
    assert set(commands) == {name for line in LINES for name in re.findall(r"\bsoci-index ([a-z-]+)", line)}
