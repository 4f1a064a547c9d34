"""`status` with the in-memory registry, by ECR's API and by tags."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from local.registry import Answer
from soci.cli.terminal import age_text
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.places.registry.ecr_api import EcrApi
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import FileRead, encode_profile, make_profile, parse_profile
from soci.start.push_profile import push_line_profile
from soci.upkeep.status.states import IndexState
from tests.aws_environment import as_aws
from tests.builders import file, gzip_of, image_of, tar_of, text, with_soci_index
from tests.unit.service.places import SMALL, InMemory, by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import EXPECTED, SETTINGS, app, both, put_forty


@pytest.fixture
def place():
    with in_memory() as place, as_aws(place.registry):
        yield place


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without a cdk.json."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS.to_document()))
    return path


def flags(place: InMemory, settings: object) -> tuple[object, ...]:
    return ("--settings", settings, "--ecr-host", place.registry.host)


def test_forty_images_in_every_state_are_classified(soci_index, place, settings):
    put_forty(place)

    document = soci_index("status", f"{place.registry.host}/*", *flags(place, settings), "--json").document

    found = {image["tag"]: image["state"] for image in document["images"]}
    assert len(found) == sum(EXPECTED.values()) == 40
    wrong = {tag: state for tag, state in found.items() if not tag.removeprefix("dev-").startswith(state)}
    assert not wrong
    assert document["summary"] == {str(state): number for state, number in EXPECTED.items()}
    assert set(EXPECTED) == set(IndexState) - {IndexState.UNKNOWN}


def test_a_registry_without_api_gives_the_same_states_without_ages(soci_index, place, settings):
    put_forty(place)
    by_api = soci_index("status", f"{place.registry.host}/*", *flags(place, settings), "--json").document
    place.registry.forget_requests()

    names = [f"{place.registry.host}/{name}" for name in ("app", "team/api")]
    by_tags = soci_index("status", *names, "--settings", settings, "--json").document

    def facts(document):
        return {
            (image["repository"], image["tag"]): {
                key: value for key, value in image.items() if key not in ("pushed_at", "age_seconds")
            }
            for image in document["images"]
        }

    assert facts(by_tags) == facts(by_api)
    assert {image["age_seconds"] for image in by_tags["images"]} == {None}
    assert not any(seen.aws_action for seen in place.registry.requests)


def test_the_table_names_the_tag_to_deploy_and_explains_each_state_once(soci_index, place, settings):
    put_forty(place)

    lines = soci_index("status", f"{place.registry.host}/*", *flags(place, settings)).stdout.splitlines()

    assert lines[0].split() == [
        *("REPOSITORY", "TAG", "STATE", "VERSION", "INDEX", "AGE", "SIZE", "REASON"),
    ]
    rows = {line.split()[1]: line.split() for line in lines[1:41]}
    assert rows["indexed-0"][:6] == ["app", "indexed-0", "indexed", "v2", "indexed-0-soci", "now"]
    assert rows["v1-only-0"][2:5] == ["v1-only", "v1", "-"]
    assert rows["partly-0"][-2:] == ["without:", "linux/arm64"]
    assert rows["dev-left-out-3"][-2:] == ["tag-excluded:", "dev-left-out-3"]
    assert lines[41] == "40 images: " + ", ".join(f"{number} {state}" for state, number in EXPECTED.items())
    assert [line.split(":")[0].strip() for line in lines[42:]] == [
        state for state in IndexState if state in EXPECTED and state is not IndexState.INDEXED
    ]


def test_only_shows_images_in_one_state(soci_index, place, settings):
    put_forty(place)
    asked = ("status", f"{place.registry.host}/app", *flags(place, settings), "--only", "missing")

    document = soci_index(*asked, "--json").document

    assert Counter(image["state"] for image in document["images"]) == {"missing": 5}
    assert document["summary"]["indexed"] == 6


def test_the_newest_image_comes_first_with_its_age(soci_index, place, settings):
    now = datetime.now(UTC)
    there = place.registry.repository("app")
    for days, tag in ((3, "old"), (1, "new")):
        place.put("app", app(tag), tag)
        data = there.manifests[there.tags[tag]].data
        there.put_manifest(data, pushed_at=(now - timedelta(days=days)).timestamp())

    result = soci_index("status", f"{place.registry.host}/app", *flags(place, settings))

    assert [line.split()[1:2] + line.split()[5:7] for line in result.stdout.splitlines()[1:3]] == [
        ["new", "1", "d"],
        ["old", "3", "d"],
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "now"), (60, "1 min"), (7_199, "1 h"), (86_400, "1 d"), (1e7, "115 d")]
)
def test_ages_have_one_unit(seconds, text):
    assert age_text(seconds) == text


def states(soci_index, place, tmp_path, **sections) -> dict[str, str]:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(configuration(**sections).to_document()))
    result = soci_index("status", f"{place.registry.host}/app", *flags(place, path), "--json")
    return {image["tag"]: image["state"] for image in result.document["images"]}


def test_under_replace_the_tag_itself_is_the_index(soci_index, place, tmp_path):
    settings = configuration(tagging={"policy": "replace"})
    for tag in ("1", "2"):
        place.put("app", app(tag), tag)
    index(place, by_hand("app", "1"), settings)

    found = states(soci_index, place, tmp_path, tagging={"policy": "replace"})

    assert found == {"1": "indexed", "2": "missing"}


PROFILE = encode_profile(make_profile([FileRead(path=b"/app", first_ms=0, last_ms=1)]))


def test_the_profile_of_a_line_is_no_image_and_decides_what_is_up_to_date(soci_index, place, tmp_path):
    used = UsedProfile(profile=parse_profile(PROFILE), digest=digest_of(PROFILE))
    for tag in ("with", "without"):
        place.put("app", app(tag), tag)
    index(place, by_hand("app", "with"), configuration(), profile=used)
    index(place, by_hand("app", "without"), configuration())
    before = {"with": "other-settings", "without": "indexed"}
    assert {tag: states(soci_index, place, tmp_path)[tag] for tag in before} == before
    asked = [seen.path for seen in place.registry.requests]
    assert not any("referrers" in path or "soci-profile" in path for path in asked), "the list has no profile"

    push_line_profile(partial(place, "app"), "*", Platform.parse("linux/amd64"), PROFILE)

    found = states(soci_index, place, tmp_path)
    assert found == {"with": "indexed", "without": "other-settings"}


DIGEST_ONLY = {"tagging": {"policy": "digest-only"}}


def test_under_digest_only_the_untagged_converted_image_is_found(soci_index, place, tmp_path):
    for tag in ("indexed", "other-settings", "missing", "broken", "broken-and-indexed"):
        place.put("app", both(tag), tag)
    there = place.registry.repository("app")
    for tag, span_size in (("broken", 65_536), ("other-settings", 131_072), ("broken-and-indexed", 131_072)):
        known = set(there.manifests)
        index(place, by_hand("app", tag), configuration(index={"span_size_bytes": span_size}, **DIGEST_ONLY))
        if tag.startswith("broken"):
            made = {digest: there.manifests[digest] for digest in set(there.manifests) - known}
            for digest, manifest in made.items():
                if manifest.artifact_type == media_types.SOCI_INDEX_V2:
                    del there.manifests[digest]
    for tag in ("indexed", "broken-and-indexed"):
        index(place, by_hand("app", tag), configuration(**DIGEST_ONLY))

    found = states(soci_index, place, tmp_path, **DIGEST_ONLY)

    assert found == {
        "indexed": "indexed",
        "other-settings": "other-settings",
        "missing": "missing",
        "broken": "broken",
        "broken-and-indexed": "indexed",
    }


def test_under_digest_only_the_table_shows_the_digest_to_deploy(soci_index, place, tmp_path):
    place.put("app", app("1"), "1")
    made = index(place, by_hand("app", "1"), configuration(**DIGEST_ONLY))
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(configuration(**DIGEST_ONLY).to_document()))
    asked = ("status", f"{place.registry.host}/app", *flags(place, path))

    assert made.root is not None
    row = soci_index(*asked).stdout.splitlines()[1].split()
    [image] = soci_index(*asked, "--json").document["images"]

    assert row[1:5] == ["1", "indexed", "v2", f"@{made.root.digest.hex[:12]}"]
    assert (image["index_tag"], image["index_digest"]) == (None, str(made.root.digest))


def test_under_digest_only_the_newest_index_of_other_settings_is_shown(soci_index, place, tmp_path):
    place.put("app", app("1"), "1")
    made = [
        index(place, by_hand("app", "1"), configuration(index={"span_size_bytes": size}, **DIGEST_ONLY))
        for size in (131_072, 262_144)
    ]
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(configuration(**DIGEST_ONLY).to_document()))

    asked = ("status", f"{place.registry.host}/app", *flags(place, path), "--json")
    [image] = soci_index(*asked).document["images"]

    newest = made[-1].root
    assert newest is not None
    assert (image["state"], image["index_digest"]) == ("other-settings", str(newest.digest))


def test_under_digest_only_both_versions_are_required(soci_index, place, tmp_path):
    sections = {"index": {"version": "both"}, **DIGEST_ONLY}
    for tag in ("partly", "indexed"):
        place.put("app", app(tag), tag)
    index(place, by_hand("app", "partly"), configuration(**DIGEST_ONLY))
    index(place, by_hand("app", "indexed"), configuration(**sections))

    assert states(soci_index, place, tmp_path, **sections) == {"partly": "partly", "indexed": "indexed"}


def test_under_digest_only_a_registry_without_api_gives_the_state_unknown(soci_index, place, tmp_path):
    place.put("app", app("1"), "1")
    index(place, by_hand("app", "1"), configuration(**DIGEST_ONLY))
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(configuration(**DIGEST_ONLY).to_document()))

    document = soci_index("status", f"{place.registry.host}/app", "--settings", path, "--json").document

    assert document["summary"] == {"unknown": 1}


def test_a_converted_image_with_differently_compressed_layers_is_outdated(soci_index, place, tmp_path):
    """A rebuild keeps the config, but may compress the layers differently."""
    tar = tar_of(file("app/rebuilt", text(90_000, "rebuilt")))
    place.put("app", image_of(gzip_of(tar, level=1)), "1")
    index(place, by_hand("app", "1"), configuration())
    place.put("app", image_of(gzip_of(tar, level=9)), "1")

    assert states(soci_index, place, tmp_path) == {"1": "outdated"}


def test_one_of_two_wanted_versions_is_partly(soci_index, place, tmp_path):
    place.put("app", both("1"), "1")
    place.put("app", both("2"), "2")
    index(place, by_hand("app", "1"), configuration())
    index(place, by_hand("app", "2"), configuration(index={"version": "both"}))

    found = states(soci_index, place, tmp_path, index={"version": "both"})

    assert found == {"1": "partly", "2": "indexed"}


def test_with_only_version_1_wanted_an_index_of_version_2_does_not_count(soci_index, place, tmp_path):
    place.put("app", both("1"), "1")
    index(place, by_hand("app", "1"), configuration())

    assert states(soci_index, place, tmp_path, index={"version": "v1"}) == {"1": "missing"}


def test_a_foreign_index_under_the_tag_itself_has_other_settings(soci_index, place, tmp_path):
    place.put("app", with_soci_index(app("1")), "1")

    assert states(soci_index, place, tmp_path) == {"1": "other-settings"}


def test_a_users_tag_with_the_suffix_is_an_ordinary_image(soci_index, place, tmp_path):
    place.put("app", app("1"), "1")
    place.put("app", app("2"), "1-soci")

    assert states(soci_index, place, tmp_path) == {"1": "missing", "1-soci": "missing"}


def test_an_unreadable_image_does_not_hide_the_others(soci_index, place, tmp_path):
    place.put("app", app("1"), "1")
    place.put("app", app("2"), "2")
    there = place.registry.repository("app")
    del there.blobs[there.manifests[there.tags["2"]].document["config"]["digest"]]

    assert states(soci_index, place, tmp_path) == {"1": "missing", "2": "broken"}


def test_without_subjects_in_the_list_the_referrers_are_requested(soci_index, place, tmp_path, monkeypatch):
    place.put("app", app("1"), "1")
    index(place, by_hand("app", "1"), configuration(index={"version": "v1"}))
    page_of = EcrApi.fetch_images

    def without_subjects(api, *arguments, **options):
        page = page_of(api, *arguments, **options)
        assert page is not None
        return replace(page, images=tuple(replace(one, subject=None) for one in page.images))

    monkeypatch.setattr(EcrApi, "fetch_images", without_subjects)

    assert states(soci_index, place, tmp_path) == {"1": "v1-only"}


def test_an_image_that_names_something_else_as_its_index_is_broken(soci_index, place, tmp_path):
    other = place.put("app", app("other"), "other")
    place.put("app", app("1"), "1")
    there = place.registry.repository("app")
    document = there.find("1").document | {"annotations": {SOCI_INDEX_DIGEST: str(other.digest)}}
    there.put_manifest(json.dumps(document).encode(), tag="1")

    assert states(soci_index, place, tmp_path) == {"other": "missing", "1": "broken"}


def test_a_registry_that_fails_is_an_error(soci_index, place, settings):
    place.put("app", app("1"), "1")
    place.registry.fail(Answer(403), where=lambda seen: "/manifests/" in seen.path, times=None)

    result = soci_index("status", f"{place.registry.host}/app", *flags(place, settings), status=1)

    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("{host}/none", "{host}/none: there is no such repository"),
        ("{host}/team-*", "{host}/team-*: there is no such repository"),
        ("{host}/app:1", "expected a repository of a registry"),
        ("oci:app", "expected a repository of a registry"),
        ("registry.example.com/app-*", "patterns work only with ECR"),
        ("no host/*", "image name"),
    ],
)
def test_an_impossible_repository_is_named_in_the_error(soci_index, place, settings, name, problem):
    place.registry.repository("app")
    host = place.registry.host
    status = 1 if "no such repository" in problem else 2

    result = soci_index("status", name.format(host=host), *flags(place, settings), status=status)

    assert problem.format(host=host) in result.stderr


def test_a_repository_without_tags_has_no_images(soci_index, place, settings):
    place.registry.repository("app")

    assert soci_index("status", f"{place.registry.host}/app", *flags(place, settings)).stdout == "0 images\n"


def test_settings_come_from_cdk_json_by_default(soci_index, place, tmp_path, monkeypatch):
    place.put("app", app("1"), "1")
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"settings": SMALL}}))
    monkeypatch.setenv("SOCI_REGISTRY", place.registry.host)

    document = soci_index("status", f"{place.registry.host}/app", "--json").document

    assert [image["state"] for image in document["images"]] == ["missing"]
    assert document["images"][0]["age_seconds"] is not None
