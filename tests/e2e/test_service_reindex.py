"""A re-index of what repositories hold already: 200 images, failures among them, a redrive, and the counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
import zstandard

from local.registry.store import Repository
from local.system.record import Status
from local.system.system import INDEX_IMAGE, LocalSystem
from tests.builders import Image, file, image_of, noise, tar_of
from tests.e2e.service import (
    NO_RATES,
    Service,
    an_image,
    assert_sound,
    converted,
    layer,
    outcomes,
    put,
    settings,
)

REPOSITORIES = ("shop/cart", "shop/search", "shop/stock", "web")
KINDS = {"small": 34, "large": 8, "zstd": 4, "s390x": 2, "indexed": 1, "damaged": 1}
"""Images of each repository, 50 in all."""


def image_named(name: str, kind: str, number: int) -> Image:
    if kind == "small":
        return image_of(layer(f"{name}-{number}", 21_000))
    if kind == "zstd":
        tar = tar_of(file("big", noise(120_000, f"{name}-{number}")))
        return image_of(zstandard.compress(tar))
    platform = "linux/s390x" if kind == "s390x" else "linux/amd64"
    return an_image(f"{name}-{kind}-{number}", platform=platform, sizes=(120_000, 30_000))


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    deployment = {"images_at_a_time": 8}
    with LocalSystem(settings=settings(), deployment=deployment, behaviour=NO_RATES) as system:
        yield Service(system, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def images(service) -> dict[tuple[str, str], Image]:
    """200 images, one of each repository with an index already, one damaged."""
    made = {
        (name, f"{kind}-{number}"): image_named(name, kind, number)
        for name in REPOSITORIES
        for kind, count in KINDS.items()
        for number in range(count)
    }
    for (name, tag), image in made.items():
        repository = service.repository(name)
        if tag.startswith("indexed"):
            assert outcomes(service.push(image, name, tag))[0] == ("indexed", None)
            continue
        put(repository, image, tag)
        if tag.startswith("damaged"):
            digest = largest_layer(repository, tag)
            repository.blobs[digest] = bytes(len(repository.blobs[digest]))
    return made


def largest_layer(repository: Repository, tag: str) -> str:
    manifest = repository.find(tag)
    assert manifest is not None
    return str(max(manifest.document["layers"], key=lambda one: one["size"])["digest"])


def test_a_reindex_fails_at_the_images_that_fail_and_a_redrive_ends_it(service, images):
    system = service.system
    first = system.start_reindex({"repositories": ["shop/*", "web"]}).wait(150)
    system.wait_idle()

    assert (first.status, first.run.visits[-1].state) == (Status.FAILED, "Images failed")
    told = json.loads(json.loads(first.run.cause)["errorMessage"])
    assert (told["images"], told["outcomes"]["failed"]) == (len(images), len(REPOSITORIES))
    assert told["reasons"]["DigestMismatch"] == len(REPOSITORIES), "all images but the damaged ones are done"
    for name in REPOSITORIES:
        assert "damaged-0-soci" not in service.tags(name)
        assert service.tags(name)["large-7-soci"] == converted(service.layout(images[name, "large-7"]))

    for (name, tag), image in images.items():
        if tag.startswith("damaged"):
            digest = largest_layer(service.repository(name), tag)
            service.repository(name).blobs[digest] = next(
                blob for known, blob in image.blobs.items() if str(known) == digest
            )
    before = Counter(system.functions.invocations())
    system.redrive(first).wait(60)
    system.wait_idle()

    assert first.status is Status.SUCCEEDED, first.run.cause
    again = {name.split("-")[3]: count for name, count in since(system, before).items()}
    assert again["PublishIndex"] == len(REPOSITORIES), "exactly those that had failed"
    assert first.output["images"] == len(images) == 200
    assert first.output["outcomes"] == {"tagged": 160, "indexed": 36, "skipped": 4}
    assert first.output["reasons"] == {
        "image-too-small": 136,
        "no-layer-to-index": 16,
        "architecture-excluded": 8,
        "already-indexed": 4,
    }
    for (name, tag), image in images.items():
        made = service.tags(name)[f"{tag}-soci"]
        is_indexed = tag.partition("-")[0] in {"large", "indexed", "damaged"}
        assert (made != str(image.root.digest)) is is_indexed
    assert_sound(system, REPOSITORIES)


def since(system: LocalSystem, before: Counter[str]) -> Counter[str]:
    return Counter(system.functions.invocations()) - before


@pytest.mark.usefixtures("images")
def test_another_reindex_finds_nothing_to_do(service):
    system = service.system
    before = len(system.executions(INDEX_IMAGE))
    execution = system.start_reindex({"repositories": ["*"]}).wait(150)
    system.wait_idle()

    assert execution.status is Status.SUCCEEDED, execution.run.cause
    assert execution.output["reasons"]["already-indexed"] == 40
    assert set(execution.output["outcomes"]) <= {"skipped", "tagged"}
    assert len(system.executions(INDEX_IMAGE)) == before, "nothing was published, so no event came"


@pytest.mark.usefixtures("images")
def test_only_what_is_asked_for_is_listed(service):
    request = {"repositories": ["web"], "tags": ["large-?"], "force": True}
    execution = service.system.start_reindex(request).wait(60)

    assert execution.output["outcomes"] == {"indexed": 8}
    missing = {"repositories": ["web"], "tags": ["large-*", "indexed-*"], "only_missing": True}
    assert service.system.start_reindex(missing).wait(60).output["images"] == 0
    late = {"repositories": ["web"], "pushed_since": "2999-01-01"}
    assert service.system.start_reindex(late).wait(60).output["images"] == 0


def test_a_request_that_names_what_is_not_there_fails_at_once_and_names_it(service):
    execution = service.system.start_reindex({"repositories": ["web", "nowhere"], "tag": "x"}).wait(60)

    assert (execution.status, execution.run.error) == (Status.FAILED, "InvalidRequest")
    assert "tag" in (execution.run.cause or "")
