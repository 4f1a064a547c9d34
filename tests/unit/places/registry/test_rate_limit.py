from __future__ import annotations

import threading
import time
from bisect import bisect_left

import pytest

from local.registry.behaviour import ECR_RATES
from soci.errors import Stopped
from soci.places.cancellation import Cancellation
from soci.places.registry.http_messages import Operation
from soci.places.registry.rate_limit import ECR_RATES_PER_SECOND, RateLimiter, shared_rate_limiter
from soci.places.registry.retry import Clock
from tests.fake_time import FakeTime


def send_times(limiter: RateLimiter, clock: FakeTime, count: int, operation: Operation) -> list[float]:
    sent = []
    for _ in range(count):
        with limiter.slot(operation):
            sent.append(clock.seconds)
    return sent


def test_the_rates_for_ecr_are_its_quotas():
    behind = {
        "BatchCheckLayerAvailability": Operation.HEAD_BLOB,
        "BatchGetImage": Operation.GET_MANIFEST,
        "CompleteLayerUpload": Operation.FINISH_UPLOAD,
        "GetDownloadUrlForLayer": Operation.GET_BLOB,
        "InitiateLayerUpload": Operation.START_UPLOAD,
        "PutImage": Operation.PUT_MANIFEST,
        "UploadLayerPart": Operation.UPLOAD_PART,
    }
    no_quota = {Operation.DELETE_MANIFEST: 10, Operation.LIST: 10}

    assert {behind[name]: rate for name, rate in ECR_RATES.items()} | no_quota == ECR_RATES_PER_SECOND


def test_no_second_has_more_requests_than_the_rate_allows():
    clock = FakeTime()
    clock.seconds = 100.0
    limiter = RateLimiter({Operation.PUT_MANIFEST: 10}, clock.clock())

    sent = send_times(limiter, clock, 35, Operation.PUT_MANIFEST)
    clock.seconds += 0.5
    sent += send_times(limiter, clock, 15, Operation.PUT_MANIFEST)

    assert max(bisect_left(sent, at + 1) - index for index, at in enumerate(sent)) == 10
    assert sent[9] == 100.0
    assert sent[-1] < 106


def test_a_pause_does_not_allow_more_requests_later():
    clock = FakeTime()
    limiter = RateLimiter({Operation.LIST: 3}, clock.clock())
    send_times(limiter, clock, 3, Operation.LIST)
    clock.seconds += 60

    sent = send_times(limiter, clock, 6, Operation.LIST)

    assert sent[:3] == [60] * 3
    assert min(sent[3:]) > 61


def test_operations_without_a_limit_do_not_wait():
    clock = FakeTime()
    limiter = RateLimiter({Operation.PUT_MANIFEST: 1}, clock.clock())

    send_times(limiter, clock, 100, Operation.GET_BLOB)

    assert clock.slept == []


def test_no_more_requests_are_under_way_than_the_limit():
    limiter = RateLimiter({}, Clock(), at_once={Operation.PUT_MANIFEST: 2})
    lock = threading.Lock()
    running, most = 0, 0

    def put() -> None:
        nonlocal running, most
        with limiter.slot(Operation.PUT_MANIFEST):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 2


def test_waiting_for_a_slot_can_be_cancelled():
    limiter, cancellation = RateLimiter({}, Clock(), at_once={Operation.LIST: 1}), Cancellation()
    threading.Timer(0.1, cancellation.cancel).start()

    with (
        limiter.slot(Operation.LIST),
        cancellation.scope(),
        pytest.raises(Stopped),
        limiter.slot(Operation.LIST),
    ):
        pass


def test_clients_of_one_registry_share_its_limits():
    clock = FakeTime().clock()

    assert shared_rate_limiter("h", {}, clock) is shared_rate_limiter("h", {}, clock)
    assert shared_rate_limiter("h", {}, clock) is not shared_rate_limiter("other", {}, clock)
    assert shared_rate_limiter("h", {}, Clock()) is shared_rate_limiter("h", {}, Clock())


def test_manifests_are_put_in_ecr_no_faster_than_it_allows():
    assert ECR_RATES_PER_SECOND[Operation.PUT_MANIFEST] == 10


def test_every_kind_of_request_to_ecr_has_a_rate():
    assert ECR_RATES_PER_SECOND.keys() == set(Operation) - {Operation.LOGIN}
