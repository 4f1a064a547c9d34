"""Every execution ends in one record: an event, and a line with its metrics, whatever became of the image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from local.registry import Answer, request_to
from local.system.record import Status
from local.system.system import LocalSystem
from local.system.workflows import Execution
from soci.service.metrics import METRICS, NAMESPACE
from tests.builders import image_of
from tests.e2e.service import NO_RATES, Service, an_image, assert_sound, layer, put, settings
from tests.unit.service.example_outcomes import assert_as_promised

UNAVAILABLE = Answer(503, retry_after_seconds=1_000)
PUBLISHING = request_to("PUT", "/manifests/")
CREATED, SKIPPED, FAILED = "SOCI Index Created", "SOCI Index Skipped", "SOCI Index Failed"


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with LocalSystem(settings=settings(), behaviour=NO_RATES, time_scale=0.0005) as system:
        yield Service(system, tmp_path_factory.mktemp("images"))


@pytest.fixture
def name(request) -> str:
    return str(request.node.originalname)


@pytest.fixture(autouse=True)
def _sound_afterwards(service, request) -> Iterator[None]:
    yield
    service.system.registry.heal()
    assert_sound(service.system, [request.node.name.partition("[")[0]])


@pytest.fixture
def events(service, name):
    """Give the events about the repository of this test, in their order, each held against the schema."""

    def told() -> list[tuple[str, dict[str, Any]]]:
        found = [(entry, json.loads(entry["Detail"])) for entry in service.system.events_put]
        ours = [(entry, detail) for entry, detail in found if detail["repository"] == name]
        for entry, _ in ours:
            assert_as_promised(entry)
        return [(entry["DetailType"], detail) for entry, detail in ours]

    return told


def lines(service: Service, **wanted: object) -> list[dict[str, Any]]:
    """Lines of all functions that have these members."""
    written = [json.loads(line) for line in service.system.logs() if line.startswith("{")]
    return [one for one in written if wanted.items() <= one.items()]


def metrics_of(line: Mapping[str, Any]) -> Counter[str]:
    """Values of the metrics that a line carries, by name."""
    directives = line["_aws"]["CloudWatchMetrics"]
    assert {one["Namespace"] for one in directives} == {NAMESPACE}
    names = [metric["Name"] for one in directives for metric in one["Metrics"]]
    assert {*names} <= {metric.name for metric in METRICS}
    return Counter({name: line[name] for name in names})


def start(service: Service, **request: object) -> Execution:
    return service.since(lambda: service.system.start_index(request))[0]


def test_a_push_gives_an_event_with_everything_to_deploy_and_our_own_tag_another(service, name, events):
    pushed, own = service.push(an_image(name, sizes=(150_000, 60_000)), name, "1.4")

    # Whichever of the two executions ends first.
    (first, created), (second, skipped) = sorted(events(), key=lambda one: str(one[1]["tag"]))
    assert (first, second) == (CREATED, SKIPPED)
    assert (created["tag"], created["image_digest"]) == ("1.4", pushed.output["digest"])
    assert (created["new_tag"], created["new_digest"]) == ("1.4-soci", service.tags(name)["1.4-soci"])
    assert [one["layers"] for one in created["indexes"]] == [2]
    assert created["seconds_since_push"] >= created["seconds"] > 0
    assert (skipped["tag"], skipped["reason"]) == ("1.4-soci", "own-artifact")
    assert skipped["execution"].endswith(f":{own.name}")


def test_every_log_line_of_every_function_has_the_id_of_the_push(service, name, events):
    pushed = service.push(an_image(name), name, "1.4")[0]

    written = lines(service, correlation_id=pushed.input["id"])

    assert Counter(line["service"] for line in written if "service" in line).keys() == {"soci-index-builder"}
    assert Counter(line["message"] for line in written) == {
        "decided": 1,
        "layer done": 2,
        "image done": 1,
        "outcome": 1,
    }
    assert pushed.input["id"] in {detail["correlation_id"] for _, detail in events()}


def test_the_log_line_has_bytes_seconds_cost_and_metrics(service, name):
    layers = (layer(f"{name}-a", 150_000), layer(f"{name}-b", 60_000), layer(f"{name}-small", 5_000))
    pushed = service.push(image_of(*layers), name, "1.4")[0]

    (line,) = lines(service, message="outcome", correlation_id=pushed.input["id"])

    assert line["layer_bytes"] == sum(map(len, layers))
    assert line["streamed_bytes"] == sum(map(len, layers[:2])), "the small one is left out"
    assert line["work"]["layers"] == 2
    assert 0.00001 < line["cost_usd"] < 0.01
    assert (line["stack"], line["outcome"]) == ("soci-index-builder", "indexed")
    told = metrics_of(line)
    assert (told["Images"], told["ImagesPushed"]) == (1, 1)
    assert told["BytesStreamed"] == line["streamed_bytes"]
    assert told["PushToIndexSeconds"] == line["seconds_since_push"]


def test_the_event_of_a_too_small_image_names_the_tag_that_was_set(service, name, events):
    service.push(an_image(name, sizes=(1_000,)), name, "1.4")

    kind, detail = min(events(), key=lambda one: str(one[1]["tag"]))
    assert (kind, detail["outcome"], detail["reason"]) == (SKIPPED, "tagged", "image-too-small")
    assert (detail["new_tag"], detail["new_digest"]) == ("1.4-soci", detail["image_digest"])


def test_a_manual_request_is_identified_by_its_execution(service, name, events):
    put(service.repository(name), an_image(name), "1.4")

    execution = service.run(repository=name, tag="1.4")

    assert execution.name in {detail["correlation_id"] for _, detail in events()}
    assert {line["message"] for line in lines(service, correlation_id=execution.name)} >= {
        "decided",
        "outcome",
    }


def test_a_failed_execution_gives_an_event_and_its_redrive_another(service, name, events):
    put(service.repository(name), an_image(name), "1.4")
    service.system.registry.fail(UNAVAILABLE, where=PUBLISHING, times=None)

    execution = start(service, repository=name, tag="1.4")
    (failed,) = events()
    service.system.registry.heal()
    service.since(lambda: service.system.redrive(execution).wait())

    assert (failed[0], failed[1]["reason"]) == (FAILED, "RegistryUnavailable")
    assert "503" in failed[1]["detail"]
    assert failed[1]["execution"].endswith(f":{execution.name}")
    assert failed[1]["correlation_id"] == execution.name
    assert [kind for kind, detail in events() if detail["tag"] == "1.4"] == [FAILED, CREATED]


def test_an_invalid_request_gives_an_event_too(service):
    before = len(service.system.events_put)

    execution = start(service, repository="No/Such", tag="1.4")

    assert execution.status is Status.FAILED
    (entry,) = service.system.events_put[before:]
    assert_as_promised(entry)
    detail = json.loads(entry["Detail"])
    assert (detail["repository"], detail["reason"]) == (None, "InvalidRequest")


def test_an_unavailable_event_bus_loses_no_outcome_and_nothing_is_counted_twice(service, name, events):
    put(service.repository(name), an_image(name), "1.4")
    service.system.aws_api.fail("events", "InternalException", times=4)

    execution = service.run(repository=name, tag="1.4")

    calls = execution.run.visits[-1].calls
    assert calls > 1
    assert [kind for kind, detail in events() if detail["tag"] == "1.4"] == [CREATED]
    assert len(lines(service, message="outcome", correlation_id=execution.name)) == 1
    assert len(lines(service, message="not told", correlation_id=execution.name)) == calls - 1


def test_a_refused_event_fails_only_the_last_state(service, name, events):
    put(service.repository(name), an_image(name), "1.4")
    service.system.aws_api.fail("events", "AccessDeniedException", times=1)

    execution = start(service, repository=name, tag="1.4")

    assert (execution.status, execution.run.error) == (Status.FAILED, "EventRefused")
    assert "1.4-soci" in service.tags(name)
    service.since(lambda: service.system.redrive(execution).wait())
    assert execution.run.states() == ["Record"]
    assert [kind for kind, detail in events() if detail["tag"] == "1.4"] == [FAILED, CREATED]


def test_a_failure_event_that_cannot_be_sent_is_kept_and_can_be_replayed(service, name, events):
    put(service.repository(name), an_image(name), "1.4")
    service.system.registry.fail(UNAVAILABLE, where=PUBLISHING, times=None)
    service.system.aws_api.fail("events", "AccessDeniedException")

    execution = start(service, repository=name, tag="1.4")
    service.system.aws_api.heal()

    assert events() == []
    (kept,) = service.system.dead_letters
    service.since(lambda: service.system.bus.put(kept.event))
    ((kind, detail),) = events()
    assert (kind, detail["reason"]) == (FAILED, "RegistryUnavailable")
    assert detail["execution"].endswith(f":{execution.name}")


def test_a_failure_replayed_after_a_redrive_keeps_its_earlier_time(service, name):
    put(service.repository(name), an_image(name), "1.4")
    service.system.registry.fail(UNAVAILABLE, where=PUBLISHING, times=None)
    service.system.aws_api.fail("events", "AccessDeniedException")
    execution = start(service, repository=name, tag="1.4")
    service.system.aws_api.heal()
    service.system.registry.heal()

    service.since(lambda: service.system.redrive(execution).wait())
    service.since(lambda: service.system.bus.put(service.system.dead_letters[-1].event))

    told = [
        (entry["Time"], entry["DetailType"])
        for entry in service.system.events_put
        if execution.name in entry["Resources"][0]
    ]
    assert [kind for _, kind in told] == [CREATED, FAILED], "as they came"
    assert [kind for _, kind in sorted(told)] == [FAILED, CREATED], "as it was"


def test_a_reindex_gives_an_event_for_every_image_and_another_when_a_failed_one_succeeds(
    service, name, events
):
    repository = service.repository(name)
    for number in range(3):
        put(repository, an_image(f"{name}-{number}"), f"v{number}")
    bad = max(repository.find("v1").document["layers"], key=lambda one: one["size"])["digest"]
    whole = repository.blobs[bad]
    repository.blobs[bad] = whole[:-100] + bytes(100)

    reindex = service.since(lambda: service.system.start_reindex({"repositories": [name]}))[0]

    assert reindex.status is Status.FAILED, "the retry fails in its place"
    told = Counter((kind, detail["tag"]) for kind, detail in events() if "soci" not in detail["tag"])
    assert told == {(CREATED, "v0"): 1, (CREATED, "v2"): 1, (FAILED, "v1"): 2}

    repository.blobs[bad] = whole
    service.since(lambda: service.system.redrive(reindex).wait())

    assert reindex.output["outcomes"] == {"indexed": 3}
    assert [kind for kind, detail in events() if detail["tag"] == "v1"] == [FAILED, FAILED, CREATED]
