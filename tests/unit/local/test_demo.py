from __future__ import annotations

import tarfile

import pytest
from rich.console import Console

from local.demo.on_disk import demonstrate
from local.sample_image import FILE_LIMIT_BYTES, contents, write_sample_image
from soci.image.documents import fetch_image, host_platform
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from soci.reasons import Reason
from soci.verify import verify_image
from tests.recipes import convert_layout, files_of

LIMIT_BYTES = 1 << 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample image with at most 1 MiB of files in each layer."""
    layout = tmp_path_factory.mktemp("demo") / "image"
    root = write_sample_image(layout, "latest", layer_limit_bytes=LIMIT_BYTES)
    return layout, root


def test_the_sample_image_has_a_layer_for_each_of_its_contents(sample):
    layout, root = sample

    [one] = fetch_image(OciLayout(layout, tag="latest")).images

    assert one.descriptor.digest == root.digest
    assert one.platform == host_platform()
    assert len(one.manifest.layers or ()) == len(contents()) == 4


def test_a_layer_holds_only_files_up_to_its_size_limit(sample):
    layout, _ = sample
    [one] = fetch_image(OciLayout(layout, tag="latest")).images

    for layer, content in zip(one.manifest.layers or (), contents(), strict=True):
        with tarfile.open(layout / "blobs/sha256" / layer.digest.hex) as tar:
            members = tar.getmembers()
        assert all(member.isreg() and member.name.startswith(f"{content.prefix}/") for member in members)
        assert 0 < sum(member.size for member in members) <= LIMIT_BYTES
        assert max(member.size for member in members) <= FILE_LIMIT_BYTES
        assert {(member.uid, member.uname) for member in members} == {(0, "root")}


def test_only_the_image_is_left(sample):
    layout, _ = sample

    assert [path.name for path in layout.parent.iterdir()] == ["image"]
    for name, data in files_of(layout / "blobs/sha256").items():
        assert data is not None
        assert digest_of(data).hex == name


def test_the_same_files_give_the_same_image(sample, tmp_path):
    _, root = sample

    assert write_sample_image(tmp_path / "again", "latest", layer_limit_bytes=LIMIT_BYTES) == root


def test_the_sample_image_is_converted(sample):
    layout, _ = sample

    result = convert_layout(layout, of="latest")

    report = verify_image(OciLayout(layout, tag="latest-soci"), compare_files=True)
    assert report.is_sound
    assert report.counts.ztocs == 4
    assert len(result.layers[0]) == 4


def test_the_demonstration_on_disk_reports_each_layer(tmp_path, capfd):
    digest = demonstrate(
        Console(width=120),
        tmp_path / "demo",
        layer_limit_bytes=12 << 20,
        convert_flags=["--min-layer-size", "1MiB"],
    )

    text = capfd.readouterr().out
    layout = tmp_path / "demo" / "image"
    [one] = fetch_image(OciLayout(layout, tag="latest-soci")).images
    layers = one.manifest.layers or ()
    rows = [
        line
        for line in text.splitlines()
        if line.startswith(tuple(layer.digest.hex[:12] for layer in layers))
    ]
    assert len(rows) == 4
    assert [row.split()[-1] for row in rows] == ["indexed"] * 3 + ["below-min-size"]
    assert Reason.BELOW_MIN_SIZE.sentence in text
    assert digest == str(OciLayout(layout, tag="latest-soci").fetch_root().digest)
