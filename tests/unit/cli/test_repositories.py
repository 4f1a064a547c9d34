"""The commands on an image in a registry: the same words, the same results."""

from __future__ import annotations

import pytest

from local.registry import Behaviour, Registry
from tests.builders import file, gzip_of, image_of, noise, tar_of

NOTES = b"notes " * 1000
LAYER = gzip_of(tar_of(file("data", noise(2_000_000)), file("etc/notes", NOTES)))
IMAGE = image_of(LAYER)
FLAGS = ("--min-layer-size", "0", "--span-size", "256k")


@pytest.fixture
def registry():
    with Registry(Behaviour(immutable_tags=True, rates={})) as registry:
        app = registry.repository("app")
        for digest, blob in IMAGE.blobs.items():
            if digest != IMAGE.root.digest:
                app.put_blob(blob)
        app.put_manifest(IMAGE.document, tag="1.0")
        yield registry


@pytest.fixture
def app(registry) -> str:
    return f"{registry.host}/app"


def test_an_image_is_planned_converted_and_verified_in_its_registry(soci_index, app):
    assert soci_index("plan", f"{app}:1.0", "--min-layer-size", "0", "--json").document["layers"][0]["index"]

    converted = soci_index("convert", f"{app}:1.0", *FLAGS)

    assert f"written to {app} with tag 1.0-soci\n" in converted.stdout
    soci_index("verify", f"{app}:1.0-soci")
    assert "SOCI index" in soci_index("inspect", f"{app}:1.0-soci").stdout


def test_files_are_listed_and_read(soci_index, app):
    soci_index("convert", f"{app}:1.0", *FLAGS)

    assert soci_index("ls", f"{app}:1.0-soci", "/etc").stdout == "notes\n"
    assert soci_index("cat", f"{app}:1.0-soci", "/etc/notes").raw == NOTES


def test_a_small_file_costs_the_documents_the_ztoc_and_its_spans(soci_index, registry, app):
    soci_index("convert", f"{app}:1.0", *FLAGS)
    registry.forget_requests()

    soci_index("cat", f"{app}:1.0-soci", "/etc/notes")

    asked = [
        seen.path.removeprefix("/v2/app/").partition("/")[0]
        for seen in registry.requests
        if seen.method == "GET"
    ]
    assert len(registry.requests) == len(asked)
    assert asked.count("manifests") == 3  # the index, the manifest, the SOCI index
    assert sum(seen.sent_bytes for seen in registry.requests) < len(LAYER) / 2


def test_an_image_gets_an_index_of_version_1(soci_index, registry, app):
    digest = soci_index("create", f"{app}:1.0", *FLAGS, "--json").document["digest"]

    assert digest in registry.repository("app").manifests
    assert soci_index("cat", f"{app}:1.0", "/etc/notes").raw == NOTES


def test_an_immutable_tag_is_an_error_and_the_image_exists_by_its_digest(soci_index, registry, app):
    stays = registry.repository("app").put_manifest(IMAGE.document, tag="taken")

    result = soci_index("convert", f"{app}:1.0", f"{app}:taken", *FLAGS, "--json", status=1)

    assert (result.document["tag"], result.document["tag_left_alone"]) == (None, "immutable")
    assert "tag taken was not moved: The tag exists already" in result.stderr
    assert registry.repository("app").tags["taken"] == stays
    assert result.document["digest"] in registry.repository("app").manifests


def test_an_image_that_is_not_there_is_an_error_of_one_line(soci_index, app):
    result = soci_index("plan", f"{app}:2", status=1)

    assert result.stderr == f"soci-index: {app}: no image 2: MANIFEST_UNKNOWN: Requested image not found\n"
