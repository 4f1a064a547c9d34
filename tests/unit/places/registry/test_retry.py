from __future__ import annotations

from datetime import UTC, datetime

import pytest

from soci.errors import RegistryUnavailable
from soci.places.registry.retry import RetryPolicy, parse_retry_after
from tests.fake_time import FakeTime

ERROR = RegistryUnavailable("GET https://h/: status 503", status=503)


def asking_for(seconds: float) -> RegistryUnavailable:
    return RegistryUnavailable(str(ERROR), status=503, retry_after_seconds=seconds)


def test_delays_double_up_to_a_limit_and_the_last_error_is_raised():
    time = FakeTime()
    attempts = RetryPolicy(
        attempts=6, first_wait_seconds=1, longest_wait_seconds=5, deadline_seconds=99, clock=time.clock()
    ).start()

    for _ in range(5):
        attempts.wait(ERROR)
    with pytest.raises(RegistryUnavailable, match="status 503, after 6 attempts") as caught:
        attempts.wait(ERROR)

    assert time.slept == [1, 2, 4, 5, 5]
    assert caught.value.status == 503


def test_a_delay_is_random_up_to_its_limit():
    time = FakeTime()
    attempts = RetryPolicy(first_wait_seconds=1, clock=time.clock(luck=0.25)).start()

    attempts.wait(ERROR)
    attempts.wait(ERROR)

    assert time.slept == [0.25, 0.5]


def test_the_registry_can_lengthen_a_delay_but_not_shorten_it():
    time = FakeTime()
    attempts = RetryPolicy(first_wait_seconds=1, clock=time.clock()).start()

    attempts.wait(asking_for(7))
    attempts.wait(asking_for(0))

    assert time.slept == [7, 2]


def test_no_delay_passes_the_deadline():
    time = FakeTime()
    attempts = RetryPolicy(deadline_seconds=10, clock=time.clock()).start()

    with pytest.raises(
        RegistryUnavailable, match=r"^GET https://h/: status 503; the registry asks for a pause of 11 s$"
    ) as caught:
        attempts.wait(asking_for(11))

    assert time.slept == []
    assert (caught.value.status, caught.value.retry_after_seconds) == (503, 11)


def test_progress_resets_the_count_and_the_deadline():
    time = FakeTime()
    attempts = RetryPolicy(attempts=2, first_wait_seconds=6, deadline_seconds=10, clock=time.clock()).start()

    for _ in range(3):
        attempts.wait(ERROR)
        attempts.progress()

    assert time.slept == [6, 6, 6]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 3 ", 3),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Tue, 24 Nov 2026 12:00:30 -0000", 30),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(text, seconds):
    assert parse_retry_after(text, now=datetime(2026, 11, 24, 12, tzinfo=UTC)) == seconds
