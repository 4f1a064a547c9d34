from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from soci.ztoc.entries import format_time


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "text"),
    [
        (0, 0, b"1970-01-01T00:00:00Z"),
        (1, 500_000_000, b"1970-01-01T00:00:01.5Z"),
        (1, 1, b"1970-01-01T00:00:01.000000001Z"),
        (1, 120_000_000, b"1970-01-01T00:00:01.12Z"),
        (-2, 500_000_000, b"1969-12-31T23:59:58.5Z"),
        (951_782_399, 0, b"2000-02-28T23:59:59Z"),
        (951_782_400, 0, b"2000-02-29T00:00:00Z"),
        (2**31, 0, b"2038-01-19T03:14:08Z"),
        (253_402_300_799, 999_999_999, b"9999-12-31T23:59:59.999999999Z"),
        (253_402_300_800, 0, b""),
        (-62_135_596_800, 0, b"0001-01-01T00:00:00Z"),
        (-62_135_596_801, 0, b"0000-12-31T23:59:59Z"),
        (-62_162_035_201, 0, b"0000-02-29T23:59:59Z"),
        (-62_167_219_200, 0, b"0000-01-01T00:00:00Z"),
        (-62_167_219_201, 999_999_999, b""),
        (2**63 - 1, 0, b""),
        (-(2**63), 0, b""),
        (-(2**63) - 1, 5, b""),
    ],
)
def test_a_time_is_rfc_3339_in_utc_and_empty_outside_the_years_0_to_9999(seconds, nanoseconds, text):
    assert format_time(seconds, nanoseconds) == text


def test_every_day_of_the_calendar_reads_back():
    days = range(-719_162, 2_932_896, 997)
    expected = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%m-%dT00:00:00Z") for day in days
    ]

    assert [format_time(day * 86_400, 0).decode()[5:] for day in days] == expected
