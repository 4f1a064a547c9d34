"""A re-index of existing images: 200 of them, with failures, a redrive, and the counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
import zstandard

from local.registry.store import Repository
from local.system.record import Status
from local.system.system import INDEX_IMAGE, LocalSystem
from local.system.workflows import Execution
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

WITHOUT_INDEX = {"image-too-small": 136, "no-layer-to-index": 16, "architecture-excluded": 8}
"""Of all repositories, by reason."""

FIELDS = "repositories, tags, pushed_since, pushed_before, only_missing, force, scheduled"
"""Of a request."""


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


def test_a_reindex_fails_when_images_fail_and_a_redrive_completes_it(service, images):
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
    assert first.output == {
        "images": 200,
        "outcomes": {"tagged": 160, "indexed": 36, "skipped": 4},
        "reasons": {**WITHOUT_INDEX, "already-indexed": 4},
        "pages": 2,
        "stopped": None,
    }
    for (name, tag), image in images.items():
        made = service.tags(name)[f"{tag}-soci"]
        is_indexed = tag.partition("-")[0] in {"large", "indexed", "damaged"}
        assert (made != str(image.root.digest)) is is_indexed
    assert_sound(system, REPOSITORIES)


def since(system: LocalSystem, before: Counter[str]) -> Counter[str]:
    return Counter(system.functions.invocations()) - before


def held(service: Service) -> dict[str, tuple[dict[str, str], set[str], set[str]]]:
    """The content of the repositories: tags with their digests, manifests, blobs."""
    return {
        name: (service.tags(name), {*repository.manifests}, {*repository.blobs})
        for name in REPOSITORIES
        for repository in [service.repository(name)]
    }


def came_to(execution: Execution, state: str) -> list[tuple[str, str]]:
    """Repository and tag of each image that reached a state, sorted."""
    inputs = [visit.input for _, visit in execution.run.walk() if visit.state == f"{state} of a page"]
    return sorted((one["repository"], one["tag"]) for one in inputs)


@pytest.fixture
def leaves_all_as_it_is(service, images) -> Iterator[None]:  # noqa: ARG001 - they have to be there before
    """The test leaves no artifact, no blob and no tag behind, moves no tag and causes no event."""
    before, executions = held(service), len(service.system.executions(INDEX_IMAGE))
    yield
    service.system.wait_idle()
    assert held(service) == before
    assert len(service.system.executions(INDEX_IMAGE)) == executions


@pytest.mark.usefixtures("leaves_all_as_it_is")
def test_another_reindex_finds_nothing_to_do(service, images):
    execution = service.system.start_reindex({"repositories": ["*"]}).wait(150)

    assert execution.status is Status.SUCCEEDED, execution.run.cause
    assert execution.output == {
        "images": 200,
        "outcomes": {"skipped": 200},
        "reasons": {**WITHOUT_INDEX, "already-indexed": 40},
        "pages": 2,
        "stopped": None,
    }
    assert came_to(execution, "Filter") == sorted(images), "each once, and no index among them"
    assert came_to(execution, "Publish") == []


@pytest.mark.usefixtures("leaves_all_as_it_is")
def test_indexing_again_gives_the_same_digests(service, images):
    request = {"repositories": ["web"], "tags": ["large-?"], "force": True}
    execution = service.system.start_reindex(request).wait(60)

    assert execution.output == {
        "images": 8,
        "outcomes": {"indexed": 8},
        "reasons": {},
        "pages": 1,
        "stopped": None,
    }
    assert came_to(execution, "Publish") == [("web", f"large-{number}") for number in range(8)]
    expected = converted(service.layout(images["web", "large-0"]))
    assert service.tags("web")["large-0-soci"] == expected


@pytest.mark.parametrize(
    "request_",
    [
        {"repositories": ["web"], "tags": ["large-*", "indexed-*"], "only_missing": True},
        {"repositories": ["web"], "pushed_since": "2999-01-01"},
    ],
    ids=["indexed", "pushed before"],
)
@pytest.mark.usefixtures("leaves_all_as_it_is")
def test_only_the_requested_images_are_listed(service, request_):
    execution = service.system.start_reindex(request_).wait(60)

    nothing = {"images": 0, "outcomes": {}, "reasons": {}, "pages": 0, "stopped": None}
    assert (execution.status, execution.output) == (Status.SUCCEEDED, nothing)
    assert came_to(execution, "Filter") == []


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"repositories": ["web", "nowhere"]}, "request: repositories[1]: there is no repository nowhere"),
        (
            {"repositories": ["web"], "tag": "x"},
            f"request.tag: no such setting, there are {FIELDS}",
        ),
    ],
    ids=["repository", "field"],
)
@pytest.mark.usefixtures("leaves_all_as_it_is")
def test_a_request_that_names_something_missing_fails_at_once_and_says_what(service, bad, told):
    execution = service.system.start_reindex(bad).wait(60)

    assert (execution.status, execution.run.error) == (Status.FAILED, "InvalidRequest")
    assert json.loads(execution.run.cause)["errorMessage"] == told
    assert execution.run.states() == ["Begin", "List images"]
