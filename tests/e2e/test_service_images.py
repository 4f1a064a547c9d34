"""Images of every kind through the whole service: event, workflow, functions, registry. Version 2, policy `suffix`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import zstandard

from local.registry.push_events import push_event
from local.system.record import Status
from local.system.system import LocalSystem
from local.system.workflows import Execution
from soci.oci import media_types
from soci.oci.digest import digest_of
from soci.places.layout.oci_layout import OciLayout
from tests.builders import file as file_
from tests.builders import gzip_of, image_of, layout_of, multi_platform, noise, tar_of
from tests.e2e.service import (
    NO_RATES,
    Service,
    an_image,
    assert_sound,
    attestation_of,
    converted,
    described,
    entries_of,
    layer,
    outcomes,
    put,
    settings,
    soci_index,
    worked,
)
from tests.e2e.start_profiles import LINE_TAG, START, build, platform_of, prefetched, profile, set_line
from tests.unit.service.example_outcomes import assert_as_promised
from tests.unit.service.places import imitation

WORKED_THEN_KNOWN_AS_OURS = [("indexed", None), ("skipped", "own-artifact")]
UP_TO_DATE = [("skipped", "already-indexed")]


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with LocalSystem(settings=settings(), behaviour=NO_RATES) as system:
        yield Service(system, tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def _sound_afterwards(service, request) -> Iterator[None]:
    yield
    assert_sound(service.system, [request.node.originalname])


@pytest.fixture
def name(request) -> str:
    """A repository for each test, named after it."""
    return str(request.node.originalname)


def test_a_push_is_indexed_under_the_tag_with_the_suffix(service, name):
    image = an_image(name)

    executions = service.push(image, name, "1.0")

    assert outcomes(executions) == WORKED_THEN_KNOWN_AS_OURS
    output = executions[0].output
    assert output["v2"] == {
        "digest": converted(service.layout(image)),
        "tag": "1.0-soci",
        "tag_left_alone": None,
    }
    assert service.tags(name) == {"1.0": str(image.root.digest), "1.0-soci": output["v2"]["digest"]}
    assert output["platforms"][0]["layers_indexed"] == 2
    assert output["read_back"] == {"manifests": 3, "ztocs": 2, "spans": 2}
    assert executions[0].run.states()[:4] == ["Filter", "Index it?", "Index layers", "Publish"]


def test_another_tool_reads_the_index_that_was_published(service, name, monkeypatch, tmp_path):
    image = an_image(name)
    service.push(image, name, "1.0")
    login = {"username": "AWS", "password": service.system.registry.issue_password()}
    config = tmp_path / "config.json"
    host = service.system.registry.host
    config.write_text(json.dumps({"auths": {host: login}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    report = soci_index("verify", f"{host}/{name}:1.0-soci")

    assert report["sound"] is True


def test_an_image_of_several_platforms_keeps_its_attestations(service, name):
    amd64, arm64 = (an_image(name, platform=f"linux/{arch}") for arch in ("amd64", "arm64"))
    s390x = an_image(name, platform="linux/s390x")
    image = multi_platform(amd64, arm64, s390x, attestation_of(amd64), attestation_of(arm64))

    executions = service.push(image, name, "2.0")

    assert outcomes(executions) == WORKED_THEN_KNOWN_AS_OURS
    output = executions[0].output
    indexed = {one["platform"]: one["layers_indexed"] for one in output["platforms"]}
    assert indexed == {"linux/amd64": 2, "linux/arm64": 2, "linux/s390x": 0}
    flags = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    layout = service.layout(image)
    by_hand = soci_index(
        "convert", f"oci:{layout}:latest", *flags, "--span-size", 65_536, "--min-layer-size", 20_000
    )
    assert output["v2"]["digest"] == by_hand["digest"]
    entries = entries_of(service.repository(name), "2.0-soci")
    references = [
        entry["annotations"]["vnd.docker.reference.digest"]
        for entry in entries
        if "vnd.docker.reference.digest" in entry.get("annotations", {})
    ]
    assert references == [entries[0]["digest"], entries[1]["digest"]], "they follow the annotated manifests"


def test_a_zstd_layer_is_left_out_and_the_others_are_indexed(service, name):
    zstd = zstandard.compress(tar_of(file_("big", noise(300_000, name))))
    image = image_of(zstd, layer(name))

    executions = service.push(image, name, "1.0")

    assert outcomes(executions) == WORKED_THEN_KNOWN_AS_OURS
    (platform,) = executions[0].output["platforms"]
    assert (platform["layers_indexed"], platform["left_out"]) == (1, {"zstd": 1})
    assert executions[0].output["v2"]["digest"] == converted(service.layout(image))


def test_an_image_that_is_too_small_gets_the_promised_tag_and_a_reason(service, name):
    image = an_image(name, sizes=(30_000,))

    executions = service.push(image, name, "1.0")

    # The copy of the tag is an event as well, of a plain image; it is known by the tag without the suffix.
    assert outcomes(executions) == [("tagged", "image-too-small"), ("skipped", "own-artifact")]
    assert service.tags(name) == {"1.0": str(image.root.digest), "1.0-soci": str(image.root.digest)}
    assert executions[0].run.states()[:3] == ["Filter", "Index it?", "Publish"]


def test_an_image_whose_layers_are_all_too_small_gets_the_promised_tag(service, name):
    image = an_image(name, sizes=(15_000,) * 8)

    executions = service.push(image, name, "1.0")

    assert outcomes(executions)[0] == ("tagged", "no-layer-to-index")
    assert service.tags(name)["1.0-soci"] == str(image.root.digest)


def test_an_image_whose_layer_turns_out_unsuitable_gets_the_promised_tag(service, name):
    members = gzip_of(tar_of(file_("a", noise(200_000, name))), members=3)
    image = image_of(members)

    executions = service.push(image, name, "1.0")

    assert outcomes(executions)[0][0] in {"tagged", "nothing-to-index"}
    assert service.tags(name)["1.0-soci"] == str(image.root.digest)


def test_pushes_of_our_own_artifacts_start_no_work(service, name):
    layout = service.layout(an_image(name))
    soci_index(
        "convert",
        f"oci:{layout}:latest",
        "--span-size",
        65_536,
        "--min-layer-size",
        20_000,
        "--all-platforms",
    )

    executions = service.since(
        lambda: service.system.push(OciLayout(layout, tag="latest-soci"), name, "from-a-pipeline")
    )

    assert outcomes(executions) == [("skipped", "own-artifact")]
    assert not worked(executions[0])
    assert list(service.tags(name)) == ["from-a-pipeline"]


def test_an_image_that_falsely_claims_a_soci_index_is_indexed_once(service, name):
    image = imitation("annotated entry", an_image(name), an_image(f"{name} too"))

    executions = service.push(image, name, "1.0")

    assert outcomes(executions) == WORKED_THEN_KNOWN_AS_OURS


def test_an_artifact_that_is_no_image_starts_nothing_or_is_skipped(service, name):
    chart = b"a chart"
    config = b"{}"
    repository = service.repository(name)
    for blob in (chart, config):
        repository.put_blob(blob)
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": described(config, "application/vnd.cncf.helm.config.v1+json"),
        "layers": [described(chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    }
    digest = repository.put_manifest(json.dumps(document).encode(), tag="1.0")
    event = push_event(name, repository.manifests[digest], "1.0", datetime.now(UTC).timestamp())
    without_types = {
        **event,
        "detail": {k: v for k, v in event["detail"].items() if not k.endswith("media-type")},
    }

    known_by_type = service.since(lambda: service.system.bus.put(event))
    known_by_content = service.since(lambda: service.system.bus.put(without_types))

    assert known_by_type == []
    assert outcomes(known_by_content) == [("skipped", "not-an-image")]
    assert list(repository.tags) == ["1.0"]


def test_an_untagged_push_is_dropped_before_anything_runs(service, name):
    dropped = len(service.system.bus.dropped)

    executions = service.push(an_image(name), name, None)

    assert executions == []
    assert len(service.system.bus.dropped) == dropped + 1


def test_a_repeated_push_finds_the_existing_index(service, name):
    image = an_image(name)
    service.push(image, name, "1.0")

    executions = service.push(image, name, "1.0")

    assert outcomes(executions) == [("skipped", "already-indexed")]


def test_duplicate_events_give_one_result(service, name):
    image = an_image(name)
    first = service.push(image, name, "1.0")[0]
    manifest = service.repository(name).find("1.0")
    event = push_event(name, manifest, "1.0", datetime.now(UTC).timestamp())

    again = service.since(lambda: [service.system.bus.put(event) for _ in range(3)])

    assert outcomes(again) == [("skipped", "already-indexed")] * 3
    assert service.tags(name)["1.0-soci"] == first.output["v2"]["digest"]


def test_two_executions_at_once_give_one_result(service, name):
    image = an_image(name, sizes=(400_000, 300_000, 200_000))
    layout = service.layout(image)
    source = OciLayout(layout, tag="latest")

    def twice() -> None:
        service.system.push(source, name, "1.0")
        service.system.start_index({"repository": name, "tag": "1.0", "force": True})
        service.system.start_index({"repository": name, "digest": str(image.root.digest), "force": True})

    executions = service.since(twice)

    assert {status for e in executions if (status := e.status)} == {Status.SUCCEEDED}
    digests = {e.output["v2"]["digest"] for e in executions if e.output["outcome"] == "indexed"}
    assert digests == {converted(layout)}
    assert service.tags(name)["1.0-soci"] in digests


def test_a_manual_run_takes_a_tag_or_a_digest(service, name):
    image = an_image(name)
    put(service.repository(name), image, "1.0")
    expected = converted(service.layout(image))

    by_digest = service.run(repository=name, digest=str(image.root.digest))
    assert (by_digest.output["outcome"], by_digest.output["v2"]["digest"]) == ("indexed", expected)
    assert by_digest.output["v2"]["tag"] is None

    by_tag = service.run(repository=name, tag="1.0")
    assert (by_tag.output["v2"]["digest"], by_tag.output["v2"]["tag"]) == (expected, "1.0-soci")

    again = service.run(repository=name, tag="1.0")
    assert (again.output["outcome"], again.output["reason"]) == ("skipped", "already-indexed")

    forced = service.run(repository=name, tag="1.0", force=True)
    assert (forced.output["outcome"], forced.output["v2"]["digest"]) == ("indexed", expected)


def test_a_moved_tag_is_left_to_the_push_that_moved_it(service, name):
    service.push(an_image(f"{name}-old"), name, "1.0")
    old = service.repository(name).find("1.0")
    service.push(an_image(f"{name}-new"), name, "1.0")
    late = push_event(name, old, "1.0", datetime.now(UTC).timestamp())

    executions = service.since(lambda: service.system.bus.put(late))

    assert outcomes(executions) == [("skipped", "superseded")]
    assert service.tags(name)["1.0-soci"] == converted(service.layout(an_image(f"{name}-new")))


def test_a_deleted_image_is_no_failure(service, name):
    layout_of(service.directory / name, an_image(name))
    service.push(an_image(name), name, "1.0")
    event = push_event(name, service.repository(name).find("1.0"), "gone", datetime.now(UTC).timestamp())

    executions = service.since(lambda: service.system.bus.put(event))

    assert outcomes(executions) == [("skipped", "image-gone")]


@pytest.fixture
def push_profile(service, name, monkeypatch, tmp_path):
    """Push a profile with the command line, and return the executions that this starts."""
    host = service.system.registry.host
    login = {"username": "AWS", "password": service.system.registry.issue_password()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: login}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def push(tag: str, data: bytes, *flags: str) -> list[Execution]:
        (tmp_path / "profile.json").write_bytes(data)
        command = ("profile", "push", f"{host}/{name}:{tag}", tmp_path / "profile.json", *flags)
        return list(service.since(lambda: soci_index(*command)))

    return push


def test_a_profile_decides_the_index_of_its_image_and_of_the_next_build(service, name, push_profile):
    first, second = build(1), build(2)
    service.push(first, name, "1")
    assert prefetched(service.repository(name), "1-soci") == 0

    assert push_profile("1", START, "--line") == [], "a profile starts nothing"

    again = service.push(first, name, "1")
    assert outcomes(again) == WORKED_THEN_KNOWN_AS_OURS, "made again, once"
    assert platform_of(again[0])["profile"] == {
        "digest": str(digest_of(START)),
        "origin": "image",
        "line": None,
        "files": 3,
        "files_missing": 0,
        "needed_bytes": platform_of(again[0])["profile"]["prefetched_bytes"],
        "prefetched_bytes": platform_of(again[0])["profile"]["needed_bytes"],
    }
    assert prefetched(service.repository(name), "1-soci") == 2
    assert outcomes(service.push(first, name, "1")) == UP_TO_DATE

    next_build = service.push(second, name, "2")
    assert outcomes(next_build) == WORKED_THEN_KNOWN_AS_OURS
    used = platform_of(next_build[0])["profile"]
    assert (used["origin"], used["line"], used["files"], used["files_missing"]) == ("line", "*", 3, 1)
    assert 0 < used["prefetched_bytes"] == used["needed_bytes"]
    assert prefetched(service.repository(name), "2-soci") == 2
    assert outcomes(service.push(second, name, "2")) == UP_TO_DATE

    told = [json.loads(one["Detail"]) for one in service.system.events_put if name in one["Detail"]]
    for entry in service.system.events_put:
        assert_as_promised(entry)
    assert [one["profile"] for event in told for one in event["indexes"]] == [
        None,
        platform_of(again[0])["profile"],
        used,
    ]


def test_a_new_profile_makes_an_index_again_once_and_so_does_one_that_is_removed(service, name):
    image, repository = build(1), service.repository(name)
    set_line(repository, START)
    service.push(image, name, "1")
    assert outcomes(service.push(image, name, "1")) == UP_TO_DATE

    set_line(repository, profile("/lib/a"))
    made = service.push(image, name, "1")
    assert outcomes(made) == WORKED_THEN_KNOWN_AS_OURS
    assert platform_of(made[0])["profile"]["digest"] == str(digest_of(profile("/lib/a")))
    assert outcomes(service.push(image, name, "1")) == UP_TO_DATE

    del repository.tags[LINE_TAG]
    assert outcomes(service.push(image, name, "1")) == WORKED_THEN_KNOWN_AS_OURS
    assert prefetched(repository, "1-soci") == 0
    assert outcomes(service.push(image, name, "1")) == UP_TO_DATE


def test_a_broken_profile_stops_nothing_and_is_told(service, name):
    repository = service.repository(name)
    broken = b'{"version":"1.0","files":["no object"]}'
    set_line(repository, broken)

    made = service.push(build(1), name, "1")

    assert outcomes(made) == WORKED_THEN_KNOWN_AS_OURS
    platform = platform_of(made[0])
    assert platform.get("profile") is None
    assert "start profile: files[0]" in platform["profile_problem"]
    assert "linux/amd64: a start profile is not used" in made[0].output["detail"]
    assert prefetched(repository, "1-soci") == 0
    again = service.push(build(1), name, "1")
    assert outcomes(again) == UP_TO_DATE
    assert "start profile: files[0]" in again[0].output["detail"]

    del repository.blobs[str(digest_of(broken))]
    gone = service.push(build(2), name, "2")
    repository.put_blob(broken)
    assert outcomes(gone) == WORKED_THEN_KNOWN_AS_OURS
    assert str(digest_of(broken)) in platform_of(gone[0])["profile_problem"]


def test_a_profile_is_no_image_to_those_who_ask_for_it(service, name):
    set_line(service.repository(name), START)

    asked = service.run(repository=name, tag=LINE_TAG)

    assert (asked.output["outcome"], asked.output["reason"]) == ("skipped", "not-an-image")
    assert not worked(asked)
