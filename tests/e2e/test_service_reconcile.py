"""The daily search end to end: a lost event costs a day at most, and no image is indexed twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local.system.record import Status
from local.system.system import REINDEX, LocalSystem
from tests.e2e.service import NO_RATES, Service, an_image, assert_sound, put, settings


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with LocalSystem(settings=settings(), behaviour=NO_RATES, time_scale=0.0005) as system:
        yield Service(system, tmp_path_factory.mktemp("images"))


def search(service, *, hours_later):
    """Run the daily search and return its execution."""
    at = datetime.now(UTC) + timedelta(hours=hours_later)
    (started,) = (
        one for one in service.since(lambda: service.system.run_schedules(at)) if one.state_machine == REINDEX
    )
    assert started.status is Status.SUCCEEDED, started.run.cause
    return started.output


def missed(service):
    """The summaries of the searches so far."""
    lines = (json.loads(line) for line in service.system.logs() if line.startswith("{"))
    return [line["ImagesMissed"] for line in lines if "ImagesMissed" in line]


def test_images_whose_events_were_lost_are_indexed_once(service):
    for number in range(3):
        put(service.repository("quiet"), an_image(f"quiet-{number}"), f"{number}")
    put(service.repository("quiet"), an_image("small", sizes=(30_000,)), "small")
    service.push(an_image("told"), "loud", "1")

    too_early = search(service, hours_later=1)
    found = search(service, hours_later=8)
    again = search(service, hours_later=9)

    assert too_early["images"] == 0  # they may still be worked on
    assert found["outcomes"] == {"indexed": 3, "tagged": 1}
    assert again["images"] == 0
    assert missed(service) == [0, 3, 0]
    assert {f"{number}-soci" for number in range(3)} | {"small-soci"} <= service.tags("quiet").keys()
    assert_sound(service.system, ["quiet", "loud"])


def test_old_images_are_left_alone(service):
    put(service.repository("old"), an_image("old"), "1")

    assert search(service, hours_later=24 * 4)["images"] == 0


def test_an_index_that_no_tag_leads_to_is_not_missed(tmp_path):
    policy = settings(tagging={"policy": "digest-only"})
    with LocalSystem(settings=policy, behaviour=NO_RATES, time_scale=0.0005) as system:
        service = Service(system, tmp_path)
        service.push(an_image("told"), "app", "1")
        put(service.repository("app"), an_image("quiet"), "2")

        found = [search(service, hours_later=hours)["outcomes"] for hours in (8, 9)]

        assert found == [{"indexed": 1}, {}]
        assert missed(service) == [1, 0]
        assert service.tags("app").keys() == {"1", "2"}
        assert_sound(system, ["app"])
