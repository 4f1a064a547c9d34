"""`wait` with the in-memory registry."""

from __future__ import annotations

import json
import threading

import pytest
import typer

from soci.cli.wait import parse_duration
from soci.upkeep.status import wait as waiting
from tests.unit.service.places import by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import app

SETTINGS = configuration()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a cdk.json
    monkeypatch.setattr(waiting, "FIRST_PAUSE_SECONDS", 0.05)
    with in_memory() as place:
        place.put("app", app("one"), "1.4")
        yield place


@pytest.fixture
def image(place):
    return f"{place.registry.host}/app:1.4"


def test_only_the_image_to_deploy_is_printed(soci_index, place, image):
    indexing = threading.Timer(0.3, lambda: index(place, by_hand("app", "1.4"), SETTINGS))
    indexing.start()

    result = soci_index("wait", image, "--timeout", "30s")

    indexing.join()
    assert result.stdout == f"{image}-soci\n"
    assert result.stderr == ""


def test_json_output_has_all_facts(soci_index, place, image):
    index(place, by_hand("app", "1.4"), SETTINGS)

    report = soci_index("wait", image, "--json").document

    there = place.registry.repository("app").tags
    assert report.pop("seconds") < 30
    assert report == {
        "image": image,
        "image_digest": there["1.4"],
        "ready": True,
        "end": "indexed",
        "tag": "1.4-soci",
        "digest": there["1.4-soci"],
        "versions": ["v2"],
        "reason": None,
        "detail": "",
    }


def test_a_timeout_is_an_error_that_says_so(soci_index, image):
    result = soci_index("wait", image, "--timeout", "0.2s", status=1)

    assert result.stdout == ""
    assert result.stderr == f"soci-index: {image}: The index was not ready in time.\n"
    assert soci_index("wait", image, "--timeout", "0", "--json", status=1).document["end"] == "timed-out"


def test_settings_end_the_wait_for_an_excluded_image(soci_index, image, tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"rules": {"repositories": {"include": ["team/*"]}}}))

    result = soci_index("wait", image, "--settings", settings, status=1)

    assert "The settings leave the image out. (repository-excluded: app)" in result.stderr


def test_with_settings_an_index_of_other_settings_is_not_ready(soci_index, place, image, tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS.to_document()))
    index(place, by_hand("app", "1.4"), configuration(index={"span_size_bytes": 131_072}))
    soci_index("wait", image, "--settings", settings, "--timeout", "0", status=1)

    index(place, by_hand("app", "1.4"), SETTINGS)

    assert soci_index("wait", image, "--settings", settings).stdout == f"{image}-soci\n"


def test_flags_override_settings(soci_index, place, image):
    replaced = configuration(tagging={"policy": "replace"})
    index(place, by_hand("app", "1.4"), configuration(tagging={"suffix": ".lazy"}))

    assert soci_index("wait", image, "--suffix", ".lazy").stdout == f"{image}.lazy\n"
    soci_index("wait", image, "--tag-policy", "replace", "--timeout", "0", status=1)
    index(place, by_hand("app", "1.4"), replaced)
    assert soci_index("wait", image, "--tag-policy", "replace").stdout == f"{image}\n"


def test_a_version_1_index_is_found_by_its_subject(soci_index, place, image):
    index(place, by_hand("app", "1.4"), configuration(index={"version": "v1"}))

    report = soci_index("wait", image, "--index-version", "v1", "--json").document

    assert (report["tag"], report["versions"]) == ("1.4", ["v1"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("oci:somewhere:1.4",), "want an image in a registry, by its tag"),
        (("localhost:1/app@sha256:" + "7f" * 32,), "want an image in a registry, by its tag"),
        (("localhost:1/app:1.4", "--timeout", "soon"), "is not a time"),
        (("localhost:1/app:1.4", "--tag-policy", "digest-only"), "SOCI Index Created"),
    ],
    ids=["layout", "digest", "time", "digest-only"],
)
def test_an_image_without_tag_or_registry_is_a_usage_error(soci_index, place, arguments, said):  # noqa: ARG001
    assert said in " ".join(soci_index("wait", *arguments, status=2).stderr.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("0", 0), (600.0, 600)]
)
def test_times_are_seconds_or_have_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1s", "1d", "1 m 2 s", "٣m", "inf", "nan", "9" * 400])
def test_other_times_are_refused(text):
    with pytest.raises(typer.BadParameter, match="is not a time"):
        parse_duration(text)
