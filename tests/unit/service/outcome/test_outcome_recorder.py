"""The recorder as Lambda calls it."""

from __future__ import annotations

import json
from types import ModuleType, SimpleNamespace

import boto3
import pytest
from botocore.stub import ANY, Stubber

from soci.errors import EventBusUnavailable, InvalidDocument
from soci.service.outcome.event_bus import EventBus
from tests.handlers import capture_log, load_handler
from tests.unit.service.example_outcomes import BY_HAND, CAUGHT, PUBLISHED, PUSH_ID, result, status_change

CONTEXT = SimpleNamespace(
    function_name="recorder", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)


@pytest.fixture
def bus():
    client = boto3.client(
        "events", region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    with Stubber(client) as stub:
        yield stub


@pytest.fixture
def function(monkeypatch, bus: Stubber) -> ModuleType:
    sizes = dict.fromkeys(("image_filter", "index_layer", "publish_index", "outcome_recorder"), 512)
    monkeypatch.setenv("SOCI_FUNCTION_SIZES", json.dumps({"architecture": "arm64", **sizes}))
    monkeypatch.setenv("SOCI_STACK", "soci-prod")
    module = load_handler("outcome_recorder")
    monkeypatch.setattr(module, "bus", EventBus(lambda: bus.client))
    return module


@pytest.fixture
def log(function):
    return capture_log(function)


@pytest.fixture
def takes(bus):
    """Let the bus take one event, which has to come."""
    answer = {"FailedEntryCount": 0, "Entries": [{}]}
    yield lambda: bus.add_response("put_events", answer, {"Entries": ANY})
    bus.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (result(PUBLISHED), ("SOCI Index Created", PUSH_ID)),
        (CAUGHT, ("SOCI Index Failed", "a-name")),
        (status_change(BY_HAND), ("SOCI Index Failed", "a-name")),
    ],
    ids=["published", "caught", "from outside"],
)
def test_an_outcome_gives_an_event_and_one_line_with_its_metrics(function, takes, log, told, expected):
    name, correlation_id = expected
    takes()

    assert function.handler(told, CONTEXT) == {"told": name}

    [line] = log()
    assert (line["level"], line["message"], line["correlation_id"]) == ("INFO", "outcome", correlation_id)
    assert line["repository"] == "team/app"
    assert line["stack"] == "soci-prod"
    assert line["_aws"]["CloudWatchMetrics"]


def test_an_outcome_whose_event_cannot_be_sent_is_not_counted_and_is_retried(function, bus, log):
    bus.add_client_error("put_events", "ThrottlingException", "slow down")

    with pytest.raises(EventBusUnavailable):
        function.handler(result(PUBLISHED), CONTEXT)

    [line] = log()
    assert (line["level"], line["error"], line["correlation_id"]) == ("ERROR", "EventBusUnavailable", PUSH_ID)
    assert "_aws" not in line


def test_an_invalid_outcome_is_an_error_and_is_logged(function, log):
    with pytest.raises(InvalidDocument, match="execution"):
        function.handler({}, CONTEXT)

    [line] = log()
    assert (line["level"], line["message"], line["error"]) == ("ERROR", "not told", "InvalidDocument")
