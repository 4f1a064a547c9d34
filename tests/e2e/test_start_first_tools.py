"""Other tools accept an image whose layers were written anew, and unpack the same files from it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from soci.image.documents import host_platform
from soci.image.indexed import open_image
from soci.places.layout.oci_layout import OciLayout
from soci.start.profile import FileRead, encode_profile, make_profile
from tests.builders import noise
from tests.image_files import skopeo

STARTED = ["usr/lib/f27", "bin/app", "usr/lib/f03", "usr/lib/f15"]
FILES = {f"usr/lib/f{number:02}": noise(32 << 10, str(number)) for number in range(30)}
ADDED = {"usr/lib/f15": b"new" * 9000, "etc/app.conf": b"answer = 43\n"} | {
    f"opt/g{number:02}": noise(32 << 10, f"g{number}") for number in range(12)
}


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """An image that umoci made, and its conversion with the start's files in front."""
    directory = tmp_path_factory.mktemp("start-first")
    image, converted = directory / "image", directory / "converted"
    run("umoci", "init", "--layout", image)
    run("umoci", "new", "--image", f"{image}:app")
    architecture = host_platform().architecture
    run("umoci", "config", "--image", f"{image}:app", "--os", "linux", "--architecture", architecture)
    for name, files in (("first", FILES | {"bin/app": b"#!/bin/sh\n"}), ("second", ADDED)):
        for path, data in files.items():
            (directory / name / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / name / path).write_bytes(data)
        run("umoci", "insert", "--rootless", "--image", f"{image}:app", directory / name, "/")
    run("umoci", "insert", "--rootless", "--image", f"{image}:app", "--whiteout", "/usr/lib/f04")
    reads = [
        FileRead(path=f"/{path}".encode(), first_ms=ms, last_ms=ms)
        for ms, path in enumerate([*STARTED, "opt/g11", "opt/g02", "opt/g07"])
    ]
    profile = directory / "profile.json"
    profile.write_bytes(encode_profile(make_profile(reads)))
    flags = ("--min-layer-size", "0", "--span-size", "64KiB", "--profile", profile, "--start-first")
    run("soci-index", "convert", f"oci:{image}:app", f"oci:{converted}:soci", *flags)
    return image, converted


def config_of(image: str) -> dict[str, object]:
    config: dict[str, object] = json.loads(skopeo("inspect", "--config", image))
    return config


def unpacked(layout: Path, tag: str, to: Path) -> dict[str, tuple[object, ...]]:
    """What umoci unpacks: types, modes, sizes, times and content."""
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:{tag}", to)
    found: dict[str, tuple[object, ...]] = {}
    for path in (to / "rootfs").rglob("*"):
        facts = os.lstat(path)
        content = path.read_bytes() if path.is_file() else b""
        name = str(path.relative_to(to / "rootfs"))
        found[name] = (facts.st_mode, facts.st_nlink, facts.st_mtime, content)
    return found


def test_both_large_layers_are_written_anew(layouts):
    image, converted = layouts
    old, new = (
        open_image(OciLayout(layout, tag=tag)).image.manifest.layers or ()
        for layout, tag in ((image, "app"), (converted, "soci"))
    )
    assert [one.digest == other.digest for one, other in zip(old, new, strict=True)] == [False, False, True]
    assert json.loads(run("soci-index", "verify", f"oci:{converted}:soci", "--files", "--json"))["sound"]


def test_skopeo_copies_the_image_and_reads_its_config(layouts, tmp_path):
    image, converted = layouts
    skopeo("copy", "--quiet", "--all", f"oci:{converted}:soci", f"oci:{tmp_path}:copy")

    old, new = config_of(f"oci:{image}:app"), config_of(f"oci:{tmp_path}:copy")
    assert old.pop("rootfs") != new.pop("rootfs")
    assert old == new


def test_umoci_unpacks_the_same_files_from_both(layouts, tmp_path):
    image, converted = layouts
    skopeo("copy", "--quiet", f"oci:{converted}:soci", f"oci:{tmp_path / 'one'}:one")

    before = unpacked(image, "app", tmp_path / "before")
    assert unpacked(tmp_path / "one", "one", tmp_path / "after") == before
    assert before["usr/lib/f15"][-1] == ADDED["usr/lib/f15"]
    assert "usr/lib/f04" not in before
