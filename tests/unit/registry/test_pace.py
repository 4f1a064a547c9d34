from __future__ import annotations

from soci.registry.messages import Operation
from soci.registry.pace import ECR_RATES_PER_SECOND, Pace
from tests.fake_time import FakeTime


def test_a_second_s_worth_goes_at_once_and_the_rest_at_the_rate():
    time = FakeTime()
    time.seconds = 100.0
    pace = Pace({Operation.PUT_MANIFEST: 10}, time.clock())

    for _ in range(25):
        pace.wait(Operation.PUT_MANIFEST)

    assert len(time.slept) == 15
    assert round(time.seconds, 6) == 101.5


def test_operations_without_a_limit_do_not_wait():
    time = FakeTime()
    pace = Pace({Operation.PUT_MANIFEST: 1}, time.clock())

    for _ in range(100):
        pace.wait(Operation.GET_BLOB)

    assert time.slept == []


def test_manifests_are_put_in_ecr_no_faster_than_it_allows():
    assert ECR_RATES_PER_SECOND[Operation.PUT_MANIFEST] == 10
