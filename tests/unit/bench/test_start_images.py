"""Layers made by a recipe: the same bytes each time."""

from __future__ import annotations

import json
import tarfile

import pytest

from bench.start import images
from bench.start.images import image_layout, make_layers
from bench.start.layers import IMAGES, Layer
from bench.start.packages import PACKAGES, WHEELS, locked_lines
from bench.start.workloads import NEXT_BUILD, WORKLOADS, Workload
from soci.oci.digest import digest_of

LOWER = Layer(name="lower", files=(("srv/b", "b\n"), ("srv/a", "a\n")))
UPPER = Layer(name="upper", files=(("srv/a", "changed\n"),))


def test_layers_made_again_have_the_same_bytes(tmp_path):
    first = make_layers([LOWER, UPPER], tmp_path / "first")
    again = make_layers([LOWER, UPPER], tmp_path / "again")

    assert [layer.digest for layer in again] == [layer.digest for layer in first]
    for layer in first:
        assert layer.digest == digest_of(layer.path.read_bytes())


def test_a_layer_holds_what_changed_sorted_with_fixed_times(tmp_path):
    lower, upper = make_layers([LOWER, UPPER], tmp_path)

    with tarfile.open(lower.path) as archive:
        members = archive.getmembers()
    assert [m.name for m in members if m.name.startswith("srv")] == ["srv", "srv/a", "srv/b"]
    assert {m.name: m.linkname for m in members if m.issym()} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
    }
    assert {m.mtime for m in members} == {images.NEWEST_SECONDS}
    with tarfile.open(upper.path) as archive:
        assert archive.getnames() == ["srv", "srv/a"]


def test_what_differs_each_time_is_left_out(tmp_path):
    (layer,) = make_layers(
        [Layer(name="cached", files=(("var/cache/ldconfig/aux-cache", "inodes"),))], tmp_path
    )

    with tarfile.open(layer.path) as archive:
        assert "var/cache/ldconfig" in archive.getnames()
        assert "var/cache/ldconfig/aux-cache" not in archive.getnames()


def test_layers_are_made_once_and_upper_ones_over_those_that_are_there(tmp_path):
    (lower,) = make_layers([LOWER], tmp_path)
    made_at = lower.path.stat().st_mtime_ns

    again, upper = make_layers([LOWER, UPPER], tmp_path)

    assert again.path.stat().st_mtime_ns == made_at
    with tarfile.open(upper.path) as archive:
        assert "srv/b" not in archive.getnames()


def test_another_recipe_of_a_layer_makes_those_above_it_again(tmp_path):
    other = Layer(name="lower", files=(("srv/c", "c\n"),))

    assert make_layers([LOWER, UPPER], tmp_path)[1].path != make_layers([other, UPPER], tmp_path)[1].path


def test_an_image_is_a_layout_with_its_layers_in_order(tmp_path, monkeypatch):
    monkeypatch.setitem(IMAGES, "tiny", (LOWER, UPPER))
    monkeypatch.setattr(images, "STORE", tmp_path)

    layout = image_layout("tiny")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs" / index["manifests"][0]["digest"].replace(":", "/")).read_text())
    made = make_layers([LOWER, UPPER], tmp_path / "layers")
    assert [layer["digest"] for layer in manifest["layers"]] == [str(layer.digest) for layer in made]


@pytest.mark.parametrize("workload", [*WORKLOADS, NEXT_BUILD], ids=lambda workload: workload.name)
def test_each_workload_has_an_image_whose_packages_are_locked(workload):
    layers = [*IMAGES[workload.image], *IMAGES.get(workload.recorded_on or "", ())]

    assert all(locked_lines(PACKAGES)[layer.name] for layer in layers if layer.packages)
    assert all(
        "--hash=sha256:" in line for one in layers if one.wheels for line in locked_lines(WHEELS)[one.wheels]
    )


def test_ready_is_seen_in_one_way():
    with pytest.raises(ValueError, match="by a line or by a socket"):
        Workload(name="neither", what="", image="python", command=("true",))
