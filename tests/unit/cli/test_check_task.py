"""`check-task` on task definitions of real shape, with the in-memory registry in place of Amazon ECR."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import zstandard

from local.registry import Answer
from soci.build.recipe import convert
from soci.oci import media_types
from soci.oci.manifest import ImageIndex
from soci.upkeep.check_task.verdicts import TaskReason
from tests.aws_environment import as_aws
from tests.builders import Image, file, gzip_of, image_of, noise, tar_of, with_soci_index
from tests.recipes import run
from tests.unit.service.places import InMemory, by_hand, configuration, in_memory, index
from tests.unit.upkeep.status.forty import app, both

FILES = Path(__file__).parents[2] / "task_definitions"
ECR_HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
SETTINGS = configuration(rules={"min_image_size_bytes": 1_000}, index={"min_layer_size_bytes": 700})
V1 = configuration(index={"version": "v1"})


def zstd(name: str) -> bytes:
    return zstandard.ZstdCompressor().compress(tar_of(file(name, noise(3_000, name))))


def crumbs() -> Image:
    """Large enough as a whole, but no layer is."""
    return image_of(*(gzip_of(tar_of(file(f"crumb{n}", noise(200, f"{n}")))) for n in range(8)))


@pytest.fixture
def place():
    with in_memory() as place, as_aws(place.registry):
        yield place


@pytest.fixture
def check(soci_index, place, tmp_path, monkeypatch):
    """Run the command on one of the files, with the registry's name and the digests filled in."""
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS.to_document()))

    def command(name: str, *flags: object, status: int = 1):
        text = (FILES / f"{name}.json").read_text().replace(ECR_HOST, place.registry.host)
        for repository, tag in set(re.findall(r"{digest of ([^:}]+):([^}]+)}", text)):
            digest = place.registry.repository(repository).tags[tag]
            text = text.replace(f"{{digest of {repository}:{tag}}}", digest)
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        asked = ("check-task", path, "--settings", settings, "--ecr-host", place.registry.host, *flags)
        return soci_index(*asked, status=status)

    return command


def told(result) -> dict[str, tuple[str, str | None]]:
    return {one["container"]: (one["loading"], one["reason"]) for one in result.document["containers"]}


def put_app(place: InMemory) -> None:
    place.put("app", app("web"), "1.4")
    index(place, by_hand("app", "1.4"), SETTINGS)


def test_an_indexed_image_is_loaded_lazily_and_foreign_sidecars_whole(check, place):
    put_app(place)
    place.put("proxy", app("proxy", size_bytes=10), "3")

    result = check("web-with-sidecars", "--json")

    assert result.document["family"] == "web"
    assert told(result) == {
        "web": ("lazy", None),
        "log-router": ("whole", "other-registry"),
        "metrics": ("whole", "other-registry"),
        "proxy": ("whole", "image-too-small"),
    }
    details = {one["container"]: one["detail"] for one in result.document["containers"]}
    assert re.fullmatch(r"1 of 1 layers, (\d+) of \1 bytes", details["web"])
    assert (details["log-router"], details["metrics"]) == ("public.ecr.aws", "docker.io")


def test_the_image_and_its_index_need_the_architecture_of_the_task(check, place):
    put_app(place)
    for tag in ("2", "amd64"):
        place.put("worker", both(tag), tag)
    index(place, by_hand("worker", "2"), SETTINGS)
    store = place("worker", "amd64")
    run(convert, store, store, platforms=["linux/amd64"], tag="amd64-soci")

    result = check("arm64", "--json")

    assert result.document["platform"] == "linux/arm64"
    assert told(result) == {
        "worker": ("lazy", None),
        "built-for-amd64": ("whole", "architecture-mismatch"),
        "indexed-for-amd64": ("whole", "platform-not-indexed"),
    }


@pytest.mark.parametrize(("name", "reason"), [("windows", "windows"), ("ec2", "not-fargate")])
def test_a_task_that_rules_out_lazy_loading_causes_no_requests(check, place, name, reason):
    result = check(name, "--json")

    assert set(told(result).values()) == {("whole", reason)}
    assert place.registry.requests == []


def test_for_an_image_by_digest_the_right_tag_is_named(check, place):
    put_app(place)

    result = check("described-by-digest", "--json")

    assert told(result) == {
        "soci-enabled": ("lazy", None),
        "original": ("whole", "index-under-other-tag"),
        "original-without-tag": ("whole", "index-under-other-tag"),
    }
    assert {one["detail"] for one in result.document["containers"][1:]} == {
        f"{place.registry.host}/app:1.4-soci"
    }


def put_every_reason(place: InMemory) -> None:
    put_app(place)
    place.put("reasons", app("none"), "no-index")
    place.put("reasons", app("v1"), "v1-only")
    index(place, by_hand("reasons", "v1-only"), V1)
    place.put("reasons", image_of(zstd("z")), "zstd")
    place.put("reasons", image_of(gzip_of(tar_of(file("m", noise(3_000)))), zstd("n")), "mixed")
    place.put("reasons", app("small", size_bytes=10), "small")
    place.put("reasons", crumbs(), "crumbs")
    place.put("reasons", app("broken"), "broken")
    for tag in ("mixed", "broken"):
        index(place, by_hand("reasons", tag), SETTINGS)
    there = place.registry.repository("reasons")
    copy = there.find("broken-soci")
    assert copy is not None
    for entry in ImageIndex.parse(copy.data).manifests or ():
        if entry.artifact_type == media_types.SOCI_INDEX_V2:
            del there.manifests[str(entry.digest)]


def test_every_reason_is_found(check, place):
    put_every_reason(place)

    found = told(check("every-reason", "--json"))

    assert found.pop("zstd-beside-an-index") == ("unsure", "zstd")
    assert found == {name: ("whole", name) for name in found}
    assert len(found) == 9


def test_an_account_that_used_soci_before_can_use_version_1(check, place):
    put_every_reason(place)
    only = ("--container", "v1-only")

    assert told(check("every-reason", *only, "--account-has-v1", "--json", status=0)) == {
        "v1-only": ("lazy", None)
    }


def test_the_table_is_followed_by_a_sentence_for_each_container(check, place):
    put_every_reason(place)

    lines = check("every-reason").stdout.splitlines()

    assert lines[0].split() == ["CONTAINER", "LOADED", "REASON", "IMAGE"]
    assert lines[1].split()[:3] == ["index-under-other-tag", "whole", "index-under-other-tag"]
    assert lines[11] == (
        f"  index-under-other-tag: {TaskReason.OTHER_TAG.sentence} {place.registry.host}/app:1.4-soci"
    )
    assert len(lines) == 21


def test_only_the_named_containers_decide_the_exit_status(check, place):
    put_app(place)

    result = check("web-with-sidecars", "--container", "web", status=0)

    assert "web: Loaded lazily: 1 of 1 layers" in result.stdout


@pytest.mark.parametrize(
    ("version", "status"), [("1.3.0", 1), ("1.4.0", 0), ("LATEST", 0), ("1.10.0", 0), ("1.4", 2)]
)
def test_old_platform_versions_load_nothing_lazily(check, place, version, status):
    put_app(place)
    flags = ("--container", "web", "--platform-version", version)

    assert check("web-with-sidecars", *flags, status=status).status == status


def test_an_index_that_covers_no_layer_loads_nothing_lazily(check, place):
    place.put("app", with_soci_index(app("web"), skip=[0]), "1.4-soci")

    result = check("web-with-sidecars", "--container", "web", "--json")

    assert told(result) == {"web": ("whole", "no-layer-indexed")}
    assert result.document["containers"][0]["detail"].startswith("0 of 1 layers, 0 of ")


def test_an_unknown_container_is_a_usage_error(check):
    result = check("ec2", "--container", "app", status=2)

    assert result.stderr == "soci-index: there is no container app; there are web\n"


def test_an_unreadable_registry_makes_only_its_images_unsure(check, place):
    put_app(place)
    place.registry.fail(Answer(403), where=lambda seen: "/v2/app/" in seen.path, times=None)
    place.put("proxy", app("proxy"), "3")
    index(place, by_hand("proxy", "3"), configuration(tagging={"policy": "replace"}))

    found = told(check("web-with-sidecars", "--json"))

    assert (found["web"], found["proxy"]) == (("unsure", "unreadable"), ("lazy", None))


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ([], ["got [], want an object"]),
        (None, ["got nothing, want an object"]),
        ({"containerDefinitions": []}, ["got [], want a list with at least one container"]),
        ({}, ["containerDefinitions: got nothing, want a list with at least one container"]),
        (
            {
                "containerDefinitions": [{"name": "a"}, 5],
                "runtimePlatform": {"cpuArchitecture": "MIPS", "operatingSystemFamily": 1},
                "requiresCompatibilities": "FARGATE",
            },
            [
                "containerDefinitions[0].image: got nothing, want text",
                "containerDefinitions[1]: got 5, want an object",
                "runtimePlatform.cpuArchitecture: got MIPS, want one of X86_64, ARM64",
                "runtimePlatform.operatingSystemFamily: got 1, want a name",
                "requiresCompatibilities: got FARGATE, want a list of names",
            ],
        ),
        ({"runtimePlatform": 3, "containerDefinitions": [{}]}, ["runtimePlatform: got 3, want an object"]),
    ],
    ids=["no object", "null", "no containers", "empty", "all wrong", "no platform"],
)
def test_an_invalid_task_definition_is_refused_with_each_field_named(
    soci_index, tmp_path, document, problems
):
    path = tmp_path / "task.json"
    path.write_text(json.dumps(document))

    result = soci_index("check-task", path, status=1)

    assert result.stderr.startswith(f"soci-index: {path}: task definition: ")
    assert [problem for problem in problems if problem not in result.stderr] == []
