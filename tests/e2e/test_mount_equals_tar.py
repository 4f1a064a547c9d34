"""A mounted image equals what other tools extract: each file, with all attributes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tests.builders import (
    device,
    directory,
    fifo,
    file,
    gzip_of,
    hardlink,
    image_of,
    layout_of,
    opaque,
    symlink,
    tar_of,
    whiteout,
    with_soci_index,
)
from tests.golden_images import EXPECTED, GOLDEN_IMAGES
from tests.mounts import mounted, needs_fuse
from tests.tar_model import merged, shown_in

pytestmark = needs_fuse

LAYERS = Path(__file__).parent.parent / "golden" / "layers"
WITHOUT_ZTOC = ("pax-global-header.tar.gz", "sparse-gnu.tar.gz", "sparse-posix.tar.gz")
"""Sound tars that a zTOC cannot describe: a mount reads these layers whole."""
SOUND_LAYERS = sorted(
    name
    for name, expected in json.loads((LAYERS / "expected.json").read_text()).items()
    if not any("error" in result for result in expected["results"]) and name not in WITHOUT_ZTOC
)
WITHOUT_ENTRY = {"", "deep", "deep/without"}
"""Directories that only their content implies. umoci gives them the time at which it runs."""
IMAGES_IN_GATE = {"docker-single-repeated-layer", "oci-zstd-and-foreign-layers"}
PLATFORMS = {"oci-single-arm64": ("--platform", "linux/arm64")}
LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")
IN_GATE = {"kinds-pax.tar.gz", "sparse-posix.tar.gz"}


RICH = (
    tar_of(
        directory("etc", mode=0o750, uid=3, gid=4, mtime=1_500_000_000),
        file("etc/passwd", b"root", mode=0o4755, pax_headers={"mtime": "1600000000.000000001"}),
        hardlink("etc/same", "etc/passwd"),
        symlink("etc/link", "../somewhere/else"),
        directory("becomes-file"),
        file("becomes-file/inside", b"gone"),
        file("becomes-directory", b"gone"),
        directory("opaque", mode=0o700),
        file("opaque/below", b"gone"),
        directory("deleted"),
        file("deleted/below", b"gone"),
        device("zero", 1, 5, mode=0o666),
        fifo("pipe", mode=0o600),
        file("lower", b"content", uid=70_000, gid=4_000_000_000),
        file("replaced", b"old"),
        hardlink("keeps-old", "replaced"),
        file("deep/without/folders", b"x"),
        file(LATIN, b"latin"),
        file("sticky", b"", mode=0o1777),
        file("old", b"", mtime=-5),
    ),
    tar_of(
        file("becomes-file", b"now a file"),
        directory("becomes-directory", mode=0o711),
        file("becomes-directory/new", b"new"),
        opaque("opaque"),
        file("opaque/above", b"above"),
        whiteout("deleted"),
        file("replaced", b"new content"),
        directory("etc", mode=0o755),
        file("etc/added", b"added", pax_headers={"SCHILY.xattr.user.note": "noted"}),
        whiteout("etc/link"),
    ),
    tar_of(hardlink("linked-to-lower", "lower"), whiteout("lower")),
)


def layers_of(layout: Path) -> list[bytes]:
    """The layers of the image that this machine runs, bottom first, unpacked."""
    document = json.loads((layout / "index.json").read_text())
    while "layers" not in document:
        entries = document["manifests"]
        fitting = [one for one in entries if one.get("platform", {}).get("architecture") == "amd64"]
        document = json.loads(blob(layout, (fitting or entries)[0]["digest"]))
    there = [layer for layer in document["layers"] if (layout / path_of(layer["digest"])).exists()]
    return [plain(blob(layout, layer["digest"])) for layer in there]


def path_of(digest: str) -> Path:
    return Path("blobs", *digest.split(":"))


def blob(layout: Path, digest: str) -> bytes:
    return (layout / path_of(digest)).read_bytes()


def plain(layer: bytes) -> bytes:
    if layer.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    return gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """An image whose last layer has no zTOC, since it links to another layer."""
    image = with_soci_index(image_of(*map(gzip_of, RICH)), skip=[2])
    return layout_of(tmp_path_factory.mktemp("rich"), image)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IN_GATE else [pytest.mark.exhaustive])
        for name in [*SOUND_LAYERS, *WITHOUT_ZTOC]
    ],
)
def test_a_layer_is_what_tarfile_reads(name, tmp_path):
    layer = (LAYERS / name).read_bytes()
    image = image_of(layer) if name in WITHOUT_ZTOC else with_soci_index(image_of(layer))
    layout = layout_of(tmp_path / "image", image)

    with mounted(f"oci:{layout}:latest", tmp_path / "root") as one:
        assert shown_in(one.directory) == merged([plain(layer)])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IMAGES_IN_GATE else [pytest.mark.exhaustive])
        for name in sorted(EXPECTED)
    ],
)
def test_an_image_is_what_tarfile_reads(name, tmp_path):
    layout = GOLDEN_IMAGES / name

    with mounted(f"oci:{layout}:latest", tmp_path / "root", *PLATFORMS.get(name, ())) as one:
        assert shown_in(one.directory) == merged(layers_of(layout))


def test_layers_of_all_kinds_of_files_are_what_tarfile_reads(rich, tmp_path):
    with mounted(f"oci:{rich}:latest", tmp_path / "root") as one:
        assert shown_in(one.directory) == merged(RICH)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can unpack devices and owners")
def test_the_merged_layers_are_what_umoci_unpacks(tmp_path):
    layout = layout_of(tmp_path / "image", image_of(*map(gzip_of, RICH)))
    command = ["umoci", "unpack", "--image", f"{layout}:latest", tmp_path / "bundle"]
    subprocess.run(command, check=True, capture_output=True)

    with mounted(f"oci:{layout}:latest", tmp_path / "root") as one:
        expected = {
            path: replace(shown, time_ns=0) if path in WITHOUT_ENTRY else shown
            for path, shown in shown_in(tmp_path / "bundle" / "rootfs").items()
        }
        assert shown_in(one.directory) == expected
