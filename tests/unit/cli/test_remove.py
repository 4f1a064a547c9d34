"""`remove` at the command line: output and exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.registry import Behaviour, Registry
from soci.oci.manifest import ImageIndex
from tests.builders import file, gzip_of, image_of, multi_platform, noise, tar_of

SHARED = image_of(gzip_of(tar_of(file("shared", noise(100_000, "shared")))))
ONE, TWO = (
    multi_platform(
        SHARED, image_of(gzip_of(tar_of(file(name, noise(100_000, name)))), platform="linux/arm64")
    )
    for name in "ab"
)
FLAGS = ("--min-layer-size", "0", "--all-platforms")


@contextmanager
def running(**behaviour: Any) -> Iterator[Registry]:
    """A registry with two images that share a manifest."""
    with Registry(Behaviour(rates={}, **behaviour)) as registry:
        app = registry.repository("app")
        for image, tag in ((ONE, "1.0"), (TWO, "2.0")):
            for blob in image.blobs.values():
                app.put_blob(blob)
            for entry in (*(ImageIndex.parse(image.document).manifests or ()), image.root):
                app.put_manifest(image.blobs[entry.digest], entry.media_type)
            app.tags[tag] = str(image.root.digest)
        yield registry


@pytest.fixture
def registry():
    with running() as registry:
        yield registry


@pytest.fixture
def app(registry) -> str:
    return f"{registry.host}/app"


def test_a_dry_run_lists_tags_and_manifests_and_changes_nothing(soci_index, registry, app):
    for tag in ("1.0", "2.0"):
        soci_index("convert", f"{app}:{tag}", *FLAGS)
    state = registry.repository("app")
    tags, manifests = dict(state.tags), set(state.manifests)

    result = soci_index("remove", f"{app}:1.0", "--dry-run")
    document = soci_index("remove", f"{app}:1.0", "--dry-run", "--json").document

    assert "would remove tag 1.0-soci\n" in result.stdout
    assert f"would remove manifest {tags['1.0-soci']}\n" in result.stdout
    assert result.stdout.count(" stays: 2.0-soci leads to it\n") == 2
    assert (document["dry_run"], document["tags"], len(document["manifests"])) == (True, ["1.0-soci"], 3)
    assert list(document["needed"].values()) == [["2.0-soci"], ["2.0-soci"]]
    assert (state.tags, set(state.manifests)) == (tags, manifests)


def test_a_removal_is_reported_and_a_second_one_finds_nothing(soci_index, registry, app):
    before = dict(registry.repository("app").manifests)
    soci_index("convert", f"{app}:1.0", *FLAGS)
    soci_index("create", f"{app}:1.0", *FLAGS)

    result = soci_index("remove", f"{app}:1.0")

    assert "removed tag 1.0-soci\n" in result.stdout
    assert result.stdout.count("removed manifest ") == 7
    assert "2.0 had the same index of version 1\n" in result.stdout
    assert registry.repository("app").manifests == before
    assert "nothing to remove" in soci_index("remove", f"{app}:1.0", status=1).stderr


def test_a_refused_deletion_is_an_error_that_says_how_to_resume(soci_index, app):
    soci_index("convert", f"{app}:1.0", "--min-layer-size", "0", "--platform", "linux/arm64")
    soci_index("convert", f"{app}:1.0", *FLAGS)

    result = soci_index("remove", f"{app}:1.0", status=1)

    assert "is referenced by manifest list" in result.stderr
    assert f"run the same command again to remove the rest of {app}:1.0\n" in result.stderr
    again = soci_index("remove", f"{app}:1.0", "--dry-run")
    assert "would resume an interrupted removal\n" in again.stdout


def test_a_registry_without_deletion_is_an_error_of_one_line(soci_index):
    with running(deletes=False) as registry:
        soci_index("convert", f"{registry.host}/app:1.0", *FLAGS)
        before = dict(registry.repository("app").tags)

        result = soci_index("remove", f"{registry.host}/app:1.0", status=1)

        assert "this registry does not delete: its operator can enable that" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert registry.repository("app").tags == before


def test_an_image_without_one_of_its_manifests_is_not_sound(soci_index, registry, app):
    soci_index("convert", f"{app}:1.0", *FLAGS)
    del registry.repository("app").manifests[str(SHARED.root.digest)]

    result = soci_index("verify", f"{app}:1.0", status=1)

    assert "listed in the index, but missing" in result.stdout
