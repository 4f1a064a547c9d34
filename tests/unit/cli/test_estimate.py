"""`estimate` as users see it: images of every kind of place, a table or JSON, settings and inputs of one's own."""

from __future__ import annotations

import json

import pytest

from soci.upkeep.estimate.one_image import Assumptions
from tests.builders import image_of, layout_of
from tests.image_files import Image, write_docker_archive
from tests.unit.cli.samples import LAYER, UPPER
from tests.unit.service.places import SMALL, in_memory

AMD = image_of(LAYER, UPPER, platform="linux/amd64")


@pytest.fixture
def image(tmp_path):
    return f"oci:{layout_of(tmp_path / 'image', AMD)}"


@pytest.fixture
def cdk(tmp_path, monkeypatch):
    """A working directory whose cdk.json indexes small images."""
    monkeypatch.chdir(tmp_path)

    def write(**deployment):
        context = {"settings": SMALL, "deployment": deployment}
        (tmp_path / "cdk.json").write_text(json.dumps({"app": "...", "context": context}))

    write()
    return write


@pytest.mark.usefixtures("cdk")
def test_the_table_has_a_row_for_each_image_and_says_whose_prices_these_are(soci_index, image, tmp_path):
    archive = write_docker_archive(tmp_path / "image.tar", Image(layers=(b"x" * 512,)), "app:1")

    lines = soci_index("estimate", image, f"docker-archive:{archive}").stdout.splitlines()

    assert lines[0].split()[:7] == ["IMAGE", "ACTION", "LAYERS", "SIZE", "SECONDS", "CALLS", "GB-S"]
    assert lines[1].split()[1:3] == ["index", "2"]
    assert lines[2].split()[1:3] == ["index", "1"]
    assert lines[-1] == "list prices of us-east-1 as of 2026-03, without free tiers; prices change"


@pytest.mark.usefixtures("cdk")
def test_the_document_has_quantities_dollars_and_assumptions(soci_index, image):
    document = soci_index("estimate", image, "--json").document

    [one] = document["images"]
    assert (one["layers"], one["invocations"], one["transitions"], one["put_image"]) == (2, 5, 7, 4)
    assert one["layer_bytes"] == len(LAYER) + len(UPPER)
    assert one["total_usd"] == pytest.approx(sum(one["usd"].values()))
    assert set(document["assumptions"]) == set(Assumptions.__dataclass_fields__)
    assert document["functions"]["index_layer"] == 3008
    assert document["prices"] == {"region": "us-east-1", "as_of": "2026-03"}


@pytest.mark.usefixtures("cdk")
def test_a_month_adds_up_pushes_and_storage(soci_index, image):
    flags = ("--pushes-per-month", 600, "--months-kept", 2)

    document = soci_index("estimate", image, image, *flags, "--json").document

    one, month = document["images"][0], document["month"]
    assert month["indexing_usd"] == pytest.approx(2 * 600 * one["total_usd"], rel=0.01)
    assert month["storage_bytes"] == 2 * 600 * 2 * one["storage_bytes"]
    assert month["put_image_minutes"] == 2 * 600 * 4 / 10 / 60


@pytest.mark.usefixtures("cdk")
def test_an_image_in_a_registry_is_planned_in_its_place(soci_index):
    with in_memory() as place:
        place.put("app", AMD, "1")

        document = soci_index("estimate", f"{place.registry.host}/app:1", "--json").document

    assert document["images"][0]["layers"] == 2


def test_by_the_default_settings_a_small_image_gets_only_its_tag(soci_index, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = soci_index("estimate", image)

    assert result.stdout.splitlines()[1].split()[1:3] == ["tag", "only"]
    assert "image-too-small: The image is smaller than the minimum size" in result.stdout
    assert soci_index("estimate", image, "--json").document["images"][0]["put_image"] == 1


def test_memory_and_processor_are_those_of_the_deployment(soci_index, image, cdk):
    usual = soci_index("estimate", image, "--json").document
    cdk(lambda_architecture="x86_64", index_layer={"memory_mib": 6016})

    document = soci_index("estimate", image, "--json").document

    assert (document["functions"]["index_layer"], document["functions"]["architecture"]) == (6016, "x86_64")
    assert document["images"][0]["usd"]["lambda"] > usual["images"][0]["usd"]["lambda"]


@pytest.mark.parametrize(
    ("deployment", "problem"),
    [
        ({"lambda_architecture": "mips"}, "cdk.json: deployment.lambda_architecture: got 'mips'"),
        ({"index_layer": {"memory_mib": "much"}}, "cdk.json: deployment.index_layer.memory_mib: got 'much'"),
        ({"index_layer": {"memory_mib": True}}, "cdk.json: deployment.index_layer.memory_mib: got True"),
        ({"index_layer": {"memory_mib": 0}}, "cdk.json: deployment.index_layer.memory_mib: got 0"),
        ({"publish_index": 5}, "cdk.json: deployment.publish_index.memory_mib: got None"),
    ],
)
def test_an_invalid_deployment_is_named(soci_index, image, cdk, deployment, problem):
    cdk(**deployment)

    assert problem in soci_index("estimate", image, status=2).stderr


@pytest.mark.usefixtures("cdk")
def test_a_layer_that_no_call_can_finish_is_reported(soci_index, image):
    result = soci_index("estimate", image, "--cpu-seconds-per-gb", 40_000_000)

    assert "its largest layer would take" in result.stderr
    assert "a function has only 900" in result.stderr


@pytest.mark.usefixtures("cdk")
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "-1", "1e400", "1e300", "9" * 400, "many", ""])
@pytest.mark.parametrize(
    "flag",
    [
        *("--months-kept", "--cpu-seconds-per-gb", "--network-mb-per-second"),
        *("--reused-percent", "--pushes-per-month"),
    ],
)
def test_a_number_that_is_invalid_or_out_of_bounds_is_a_usage_error(soci_index, image, flag, number):
    result = soci_index("estimate", image, f"{flag}={number}", "--json", status=2)

    assert flag in result.stderr or flag in result.stdout


@pytest.mark.usefixtures("cdk")
def test_reused_bytes_take_no_seconds(soci_index, image):
    slow = ("--network-mb-per-second", 0.1, "--json")

    whole, none = (
        soci_index("estimate", image, "--reused-percent", percent, *slow).document["images"][0]
        for percent in (0, 100)
    )

    assert none["longest_layer_seconds"] == 0.5 < whole["longest_layer_seconds"]
    assert none["transitions"] == whole["transitions"]


@pytest.mark.usefixtures("cdk")
def test_an_image_that_is_not_there_is_an_error(soci_index, tmp_path):
    assert "nowhere" in soci_index("estimate", f"oci:{tmp_path / 'nowhere'}", status=1).stderr
