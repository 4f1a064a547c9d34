from __future__ import annotations

import json
import tarfile
import zipfile

import pytest

from bench import layers


@pytest.fixture
def fresh_clone(tmp_path, monkeypatch):
    """A clone in which nothing was measured yet, and wheels that need no download."""
    fetched = []
    wheel = tmp_path / "numpy.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("numpy/__init__.py", "version = 1\n")
    names = ("numpy", "scipy", "pandas", "pyarrow", "scikit_learn", "matplotlib")

    def fetch():
        fetched.append(wheel)
        return dict.fromkeys(names, wheel)

    monkeypatch.setattr(layers, "_fetch_wheels", fetch)
    monkeypatch.setattr(layers, "CACHE", tmp_path / "clone" / ".bench")
    return fetched


@pytest.mark.usefixtures("fresh_clone")
def test_the_first_run_in_a_fresh_clone_makes_the_folder_of_the_layers():
    (layer,) = layers.bench_layers(["thousands-of-files"])

    with tarfile.open(layer.path) as archive:
        names = archive.getnames()
    assert names[-1] == "usr/local/lib/python3.11/site-packages/numpy/__init__.py"
    assert layer.compressed_bytes == layer.path.stat().st_size
    assert layer.files == 6


def test_the_second_run_reads_what_the_first_has_left(fresh_clone):
    first = layers.bench_layers(["thousands-of-files"])

    assert layers.bench_layers(["thousands-of-files"]) == first
    assert len(fresh_clone) == 1


def test_layers_of_another_recipe_are_made_again(fresh_clone):
    (layer,) = layers.bench_layers(["thousands-of-files"])
    facts = layer.path.parent / "thousands-of-files.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"recipe": "another"}))

    layers.bench_layers(["thousands-of-files"])

    assert len(fresh_clone) == 2
