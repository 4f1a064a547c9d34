"""A registry that fails, for a while or for good, and the state it is left in."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from local.registry import OBJECTS, Answer, Behaviour, Harm, request_to
from local.registry.behaviour import ECR_RATES
from local.registry.faults import Where
from local.system.record import Status
from local.system.system import LocalSystem
from local.system.workflows import Execution
from tests.builders import Image
from tests.e2e.service import NO_RATES, Service, an_image, assert_sound, converted, outcomes, put, settings

UNAVAILABLE = Answer(503, retry_after_seconds=1_000)
"""So long that the function gives up at once and the workflow retries."""

FIRST_READ = request_to("GET", "/manifests/")
ZTOC_PUSHED = request_to("POST", "/blobs/uploads/")
PUBLISHING = request_to("PUT", "/manifests/")

MANIFESTS_OF_AN_IMAGE = 4
"""Manifests of an image with one platform: its SOCI index, the converted manifest, the index of both, and the tag."""

ONCE = {"Filter": 1, "Index layer": 1, "Publish": 1}
"""How often each state calls its function when nothing fails."""


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with LocalSystem(settings=settings(), behaviour=NO_RATES, time_scale=0.0005) as system:
        yield Service(system, tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def _sound_afterwards(service, request) -> Iterator[None]:
    yield
    service.system.registry.heal()
    assert_sound(service.system, [request.node.name.partition("[")[0]])


@pytest.fixture
def name(request) -> str:
    return str(request.node.originalname)


@pytest.mark.parametrize(
    ("where", "state"),
    [(FIRST_READ, "Filter"), (ZTOC_PUSHED, "Index layer"), (PUBLISHING, "Publish")],
    ids=["filter", "layer", "publish"],
)
def test_a_passing_failure_is_retried_until_it_succeeds(service, name, where, state):
    image = an_image(f"{name}-{state}", sizes=(150_000,))
    put(service.repository(name), image, state.replace(" ", "-"))
    service.system.registry.fail(UNAVAILABLE, where=where, times=3)

    execution = service.run(repository=name, tag=state.replace(" ", "-"))

    assert execution.output["v2"]["digest"] == converted(service.layout(image))
    calls = {visit.state: visit.calls for _, visit in execution.run.walk() if visit.state in ONCE}
    assert calls == ONCE | {state: 4}


@pytest.mark.parametrize(
    ("where", "state"),
    [(FIRST_READ, "Filter"), (ZTOC_PUSHED, "Index layers"), (PUBLISHING, "Publish")],
    ids=["filter", "layer", "publish"],
)
def test_a_lasting_failure_fails_the_execution_and_publishes_nothing(service, name, where, state):
    image, tag = an_image(f"{name}-{state}"), state.replace(" ", "-")
    execution = fail_for_good(service, name, image, tag, where)

    assert execution.run.error == "RegistryUnavailable"
    assert execution.run.states()[-1] == state
    assert "503" in (execution.run.cause or "")

    service.system.registry.heal()
    service.system.redrive(execution).wait()

    assert execution.output["v2"]["digest"] == converted(service.layout(image))
    assert execution.run.states()[0] == state, "nothing before the failed state is run again"


def fail_for_good(service: Service, name: str, image: Image, tag: str, where: Where) -> Execution:
    repository = service.repository(name)
    put(repository, image, tag)
    manifests, tags = set(repository.manifests), dict(repository.tags)
    service.system.registry.fail(UNAVAILABLE, where=where, times=None)
    execution = service.since(lambda: service.system.start_index({"repository": name, "tag": tag}))[0]

    assert execution.status is Status.FAILED
    assert set(repository.manifests) == manifests
    assert repository.tags == tags
    return execution


def test_a_refused_request_is_not_retried(service, name):
    image = an_image(name)
    put(service.repository(name), image, "1.0")
    service.system.registry.fail(Answer(403), where=PUBLISHING, times=None)

    execution = service.since(lambda: service.system.start_index({"repository": name, "tag": "1.0"}))[0]

    assert execution.status is Status.FAILED
    assert execution.run.visits[-1].calls == 1
    assert service.tags(name) == {"1.0": str(image.root.digest)}


def test_a_damaged_layer_fails_its_image_and_the_error_names_the_layer(service, name):
    image = an_image(name)
    repository = service.repository(name)
    put(repository, image, "1.0")
    digest = max(repository.find("1.0").document["layers"], key=lambda one: one["size"])["digest"]
    repository.blobs[digest] = repository.blobs[digest][:-100] + bytes(100)

    execution = service.since(lambda: service.system.start_index({"repository": name, "tag": "1.0"}))[0]

    assert execution.status is Status.FAILED
    assert digest in execution.run.cause
    assert service.tags(name) == {"1.0": str(image.root.digest)}


@pytest.mark.parametrize(
    "harm",
    [Harm.RESET_BEFORE, Harm.RESET_IN_BODY, Harm.CUT_BODY],
    ids=["reset", "reset in the body", "cut"],
)
def test_a_broken_transfer_is_resumed(service, name, harm):
    image, tag = an_image(f"{name}-{harm.name}"), harm.name
    put(service.repository(name), image, tag)
    service.system.registry.fail(harm, where=request_to("GET", origin=OBJECTS))

    execution = service.run(repository=name, tag=tag)

    assert execution.output["v2"]["digest"] == converted(service.layout(image))


def test_a_wrong_byte_on_the_way_is_never_published(service, name):
    image = an_image(name)
    put(service.repository(name), image, "1.0")
    service.system.registry.fail(Harm.WRONG_BYTE, where=request_to("GET", origin=OBJECTS))

    execution = service.since(lambda: service.system.start_index({"repository": name, "tag": "1.0"}))[0]
    if execution.status is Status.FAILED:
        service.system.redrive(execution).wait()

    assert execution.output["v2"]["digest"] == converted(service.layout(image))


def test_requests_stay_within_the_rate_limits_of_the_registry(tmp_path):
    with LocalSystem(settings=settings(), behaviour=Behaviour(), time_scale=0.05) as system:
        service = Service(system, tmp_path)
        images = {f"v{number}": an_image(f"rates-{number}", sizes=(110_000,)) for number in range(8)}
        for tag, image in images.items():
            put(service.repository("app"), image, tag)

        started = time.monotonic()
        execution = system.start_reindex({"repositories": ["app"]}).wait(60)
        seconds = time.monotonic() - started

        assert execution.status is Status.SUCCEEDED, execution.run.cause
        assert execution.output["outcomes"] == {"indexed": 8}
        assert set(service.tags("app")) == {*images, *(f"{tag}-soci" for tag in images)}
        put_images = Counter(exchange.status for exchange in system.registry.requests if PUBLISHING(exchange))
        assert put_images[201] == len(images) * MANIFESTS_OF_AN_IMAGE
        assert 0 < put_images[429] <= put_images[201], "they meet the limit, and wait instead of pressing on"
        assert put_images[201] <= ECR_RATES["PutImage"] * (seconds + 1)
        assert_sound(system, ["app"])
        assert set(outcomes(system.executions("IndexImage"))) == {("skipped", "own-artifact")}
