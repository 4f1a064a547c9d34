"""The endpoint that answers for other services of AWS, asked by boto3."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.system.aws_api import AwsApi

ENTRY = {
    "Source": "a.service",
    "DetailType": "Done",
    "Detail": "{}",
    "Time": datetime(2026, 3, 14, tzinfo=UTC),
}


@pytest.fixture
def told():
    return []


@pytest.fixture
def api(told):
    with AwsApi(told.extend) as api:
        yield api


@pytest.fixture
def events(api):
    return boto3.client(
        "events",
        region_name="eu-central-1",
        endpoint_url=api.url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_events_are_handed_over(events, told):
    answer = events.put_events(Entries=[ENTRY, ENTRY])

    assert answer["FailedEntryCount"] == 0
    assert len(answer["Entries"]) == len(told) == 2
    assert (told[0]["Source"], told[0]["DetailType"]) == ("a.service", "Done")


def test_calls_fail_the_given_number_of_times_with_the_given_code(api, events, told):
    api.fail("events", "ThrottlingException", times=2)

    for _ in range(2):
        with pytest.raises(ClientError, match="ThrottlingException"):
            events.put_events(Entries=[ENTRY])
    events.put_events(Entries=[ENTRY])
    assert len(told) == 1


def test_calls_without_an_answer_fail_until_healed(api, events, told):
    api.fail("events")

    for _ in range(2):
        with pytest.raises(BotoCoreError):
            events.put_events(Entries=[ENTRY])
    api.heal()
    events.put_events(Entries=[ENTRY])
    assert len(told) == 1


@pytest.mark.parametrize("is_done", [False, True])
def test_an_action_runs_before_a_dropped_call_or_after_an_executed_one(api, events, told, is_done):
    seen = []
    failing = api.meanwhile("events", lambda: seen.append(len(told)), is_done=is_done, times=1)

    if is_done:
        events.put_events(Entries=[ENTRY])
    else:
        with pytest.raises(BotoCoreError):
            events.put_events(Entries=[ENTRY])

    assert (seen, len(told), failing.happened) == ([is_done], is_done, 1)
