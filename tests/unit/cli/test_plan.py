from __future__ import annotations

import pytest

from soci.oci import media_types
from tests.builders import image_of, layout_of
from tests.unit.cli.samples import LAYER, PLATFORMS, UPPER


def test_a_plan_shows_each_layer_and_why_it_would_be_left_out(soci_index, layout):
    result = soci_index("plan", f"oci:{layout}:latest", "--min-layer-size", "1KiB")

    header, first, second, *rest = result.stdout.splitlines()
    assert header.split() == ["PLATFORM", "LAYER", "SIZE", "PLAN"]
    assert first.split()[0] == PLATFORMS[0]
    assert first.endswith("to be indexed")
    assert second.endswith("left out: below-min-size")
    assert any(line.startswith("below-min-size: The layer is smaller than") for line in rest)
    assert rest[-1].endswith("1 of 2 layers would be indexed")


def test_as_json_each_layer_has_a_decision(soci_index, layout):
    document = soci_index("plan", f"oci:{layout}:latest", "--min-layer-size", "1KiB", "--json").document

    first, second = document["layers"]
    assert document["image"].startswith("sha256:")
    assert first == {
        "platform": PLATFORMS[0],
        "digest": first["digest"],
        "media_type": media_types.OCI_LAYER_GZIP,
        "size_bytes": len(LAYER),
        "index": True,
        "reason": None,
    }
    assert (second["index"], second["reason"]) == (False, "below-min-size")
    assert second["detail"] == f"{len(UPPER)} bytes, the minimum is 1024"
    assert second["sentence"].endswith(".")


def test_a_plan_reads_documents_only_and_writes_nothing(soci_index, tmp_path):
    image = image_of(LAYER, UPPER, platform=PLATFORMS[0])
    for blob in (LAYER, UPPER):
        digest = next(known for known, data in image.blobs.items() if data == blob)
        image = image.damaged(digest, None)
    layout = layout_of(tmp_path, image)
    before = sorted(tmp_path.rglob("*"))

    assert soci_index("plan", f"oci:{layout}", "--json").document["layers"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("flags", "platforms"),
    [([], list(PLATFORMS)), (["--all-platforms"], list(PLATFORMS)), (["-p", PLATFORMS[1]], [PLATFORMS[1]])],
    ids=["none for this machine", "all", "one"],
)
def test_platforms(soci_index, two_platforms, flags, platforms):
    document = soci_index("plan", f"oci:{two_platforms}", *flags, "--json").document

    assert [layer["platform"] for layer in document["layers"]] == platforms


def test_an_image_without_layers_has_an_empty_plan(soci_index, tmp_path):
    layout = layout_of(tmp_path, image_of())

    assert (
        soci_index("plan", f"oci:{layout}").stdout.splitlines()[-1].endswith("0 of 0 layers would be indexed")
    )


def test_by_default_layers_under_10_mib_are_left_out(soci_index, layout):
    document = soci_index("plan", f"oci:{layout}", "--json").document

    assert {layer["reason"] for layer in document["layers"]} == {"below-min-size"}
