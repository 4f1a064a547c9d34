from __future__ import annotations

import json

import pytest

from soci.service.outcomes import ImageReason
from tests.builders import image_of, layout_of, with_soci_index
from tests.image_files import Image, write_docker_archive
from tests.recipes import convert_layout
from tests.unit.cli.samples import LAYER, UPPER
from tests.unit.service.places import EVENTS, SMALL, configuration, in_memory

PUSH = EVENTS / "push.json"
AMD = image_of(LAYER, UPPER, platform="linux/amd64")


@pytest.fixture
def settings(tmp_path):
    """A settings document under which small images are indexed."""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.fixture
def image(tmp_path):
    return layout_of(tmp_path / "image", AMD, tag="7")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without a cdk.json."""
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def test_without_an_image_only_the_rules_on_names_apply(soci_index):
    passed = soci_index("decide", PUSH)
    left_out = soci_index("decide", EVENTS / "push-empty-tag.json", "--json")

    assert passed.stdout == (
        "team/app:1.4 passes the rules on names; the rest depends on the image: name one with --image\n"
    )
    assert left_out.document["action"] == "skip"
    assert left_out.document["reason"] == "untagged"
    assert soci_index("decide", PUSH, "--json").document["action"] is None


def test_a_reason_is_explained(soci_index):
    result = soci_index("decide", EVENTS / "push-soci-index-v2.json")

    reason = ImageReason.OWN_ARTIFACT
    assert f" would be skipped\n  {reason}: {reason.sentence}" in result.stdout


def test_the_named_image_is_decided_on_as_if_it_were_the_events(soci_index, image, settings):
    result = soci_index("decide", PUSH, "--image", f"oci:{image}", "--settings", settings, "--json")

    assert result.document["action"] == "index"
    assert (result.document["repository"], result.document["tag"]) == ("team/app", "1.4")
    assert result.document["digest"] == str(AMD.root.digest)
    assert [layer["compression"] for layer in result.document["layers"]] == ["gzip", "gzip"]


def test_the_plan_is_shown_as_tables(soci_index, image, settings):
    lines = soci_index("decide", PUSH, "--image", f"oci:{image}", "--settings", settings).stdout.splitlines()

    assert lines[0] == "team/app:1.4 would be indexed"
    assert lines[1].split() == ["PLATFORM", "MANIFEST", "LAYERS", "LEFT", "OUT", "RESULT"]
    assert lines[2].split()[0::4] == ["linux/amd64", "to"]
    assert [line.split()[-1] for line in lines[4:]] == ["gzip", "gzip"]


def test_the_start_profile_that_would_be_used_is_named(soci_index, image, settings, tmp_path):
    def decided() -> str:
        command = ("decide", PUSH, "--image", f"oci:{image}:7", "--settings", settings)
        return str(soci_index(*command).stdout)

    assert "profile" not in decided()
    (tmp_path / "profile").write_text('{"version":"1.0","files":[]}')

    soci_index("profile", "push", f"oci:{image}:7", tmp_path / "profile", "--line")
    assert "linux/amd64: prefetch by the start profile of the image, " in decided()

    settings.write_text(json.dumps(configuration(index={"start_profiles": "off"}).to_document()))
    assert "profile" not in decided()


def test_without_settings_the_defaults_count_and_a_small_image_gets_the_promised_tag(soci_index, image):
    result = soci_index("decide", PUSH, "--image", f"oci:{image}:7")

    assert result.stdout.startswith(
        "team/app:1.4 would get the promised tag and no index\n  image-too-small: "
    )


def test_a_cdk_json_in_the_working_directory_gives_the_settings(soci_index, image, elsewhere):
    (elsewhere / "cdk.json").write_text(json.dumps({"app": "...", "context": {"settings": SMALL}}))

    assert soci_index("decide", PUSH, "--image", f"oci:{image}", "--json").document["action"] == "index"


def test_an_image_with_an_index_needs_none(soci_index, image, settings):
    settings.write_text(json.dumps(configuration(index={"build_tool_identifier": "x"}).to_document()))
    convert_layout(image, of="7", tag="1.4-soci", build_tool_identifier="x")

    result = soci_index("decide", PUSH, "--image", f"oci:{image}:7", "--settings", settings, "--json")

    assert result.document["reason"] == "already-indexed"


def test_an_image_in_a_registry_is_read_from_there(soci_index, settings):
    with in_memory() as place:
        place.put("app", with_soci_index(AMD), "8")

        result = soci_index(
            "decide", PUSH, "--image", f"{place.registry.host}/app:8", "--settings", settings, "--json"
        )

    assert result.document["reason"] == "own-artifact"


def test_an_image_in_an_archive_has_nothing_beside_it(soci_index, tmp_path, settings):
    archive = write_docker_archive(tmp_path / "image.tar", Image(layers=(b"x" * 512,)), "app:1")

    result = soci_index(
        "decide", PUSH, "--image", f"docker-archive:{archive}", "--settings", settings, "--json"
    )

    assert result.document["action"] == "index"


REQUEST = '{"repository": "app", "tag": "1"}'


@pytest.mark.parametrize(
    ("event", "settings_text", "problem"),
    [
        ("{", "{}", "event.json: not valid JSON"),
        ("{}", "{}", "repository: got nothing"),
        (REQUEST, '{"rules": {"tag": 1}}', "settings.json: rules.tag: no such setting"),
        (
            REQUEST,
            '{"context": {"settings": {"rules": 1}}}',
            "settings.json: settings.rules: got 1, want an object",
        ),
        (REQUEST, "[]", "settings.json: settings: got [], want an object"),
    ],
    ids=["event no JSON", "event no request", "settings", "cdk.json", "settings no object"],
)
def test_a_bad_file_is_named_with_its_problem(soci_index, tmp_path, event, settings_text, problem):
    (tmp_path / "event.json").write_text(event)
    (tmp_path / "settings.json").write_text(settings_text)
    files = (tmp_path / "event.json", "--settings", tmp_path / "settings.json")

    result = soci_index("decide", *files, status=2 if event == REQUEST else 1)

    assert problem in result.stderr


def test_missing_files_are_named(soci_index, tmp_path, settings):
    assert "absent.json" in soci_index("decide", tmp_path / "absent.json", status=1).stderr
    assert "none.json" in soci_index("decide", PUSH, "--settings", tmp_path / "none.json", status=1).stderr
    missing = soci_index(
        "decide", PUSH, "--image", f"oci:{tmp_path / 'nowhere'}", "--settings", settings, status=1
    )
    assert "nowhere" in missing.stderr


def test_a_json_file_may_have_one_mebibyte(soci_index, tmp_path):
    limit_bytes = 1 << 20
    (tmp_path / "event.json").write_text(REQUEST.ljust(limit_bytes))
    (tmp_path / "large.json").write_text(REQUEST.ljust(limit_bytes + 1))

    soci_index("decide", tmp_path / "event.json")
    result = soci_index("decide", tmp_path / "large.json", status=1)

    assert f"large.json: more than {limit_bytes} bytes" in result.stderr
