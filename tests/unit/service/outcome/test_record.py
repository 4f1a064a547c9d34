from __future__ import annotations

import json
from dataclasses import replace

import pytest

from soci.errors import InvalidDocument
from soci.service.messages import Origin
from soci.service.outcome.log_line import known_reasons
from soci.service.outcome.record import CAUSE_CHARACTERS, RecordedIndex, parse_record
from soci.service.outcomes import Outcome
from tests.unit.service.example_outcomes import (
    BY_HAND,
    CAUGHT,
    EXECUTION,
    EXECUTION_FACTS,
    PUBLISHED,
    PUSH_ID,
    REQUEST,
    SKIPPED,
    result,
    status_change,
)
from tests.unit.service.places import event


def test_a_published_image_is_recorded_with_its_tag_and_digests():
    record = parse_record(result(PUBLISHED))

    assert (record.outcome, record.reason, record.image) == (Outcome.INDEXED, None, REQUEST)
    assert (record.new_tag, record.new_digest) == ("1.4-soci", str(PUBLISHED.v2 and PUBLISHED.v2.digest))
    assert record.indexes == (
        RecordedIndex(
            platform="linux/amd64",
            image=str(PUBLISHED.platforms[0].image),
            index=str(PUBLISHED.platforms[0].index),
            layers=4,
            profile=PUBLISHED.platforms[0].profile,
            profile_problem=PUBLISHED.platforms[0].profile_problem,
        ),
    )
    assert record.v1_indexes == tuple(map(str, PUBLISHED.v1 or ()))
    assert (record.ztoc_bytes, record.streamed_bytes, record.reused_bytes) == (12_345, 3_000_000, 7_000_000)
    assert record.work == PUBLISHED.work
    assert (record.seconds, record.seconds_since_push) == (46.1, 48.1)


def test_a_skipped_image_is_recorded_with_its_reason_and_no_work():
    record = parse_record(result(SKIPPED))

    assert (record.outcome, record.reason) == (Outcome.SKIPPED, "image-too-small")
    assert record.detail == "9 bytes, the minimum is 10"
    assert (record.indexes, record.new_tag, record.streamed_bytes, record.work.layers) == ((), None, 0, 0)


def test_a_failure_that_a_reindex_caught_is_recorded_with_error_and_message():
    record = parse_record(CAUGHT)

    assert (record.outcome, record.reason) == (Outcome.FAILED, "GzipError")
    assert record.detail == "layer sha256:7f: truncated"
    assert record.image is not None
    assert (record.image.repository, record.image.tag, record.image.origin) == (
        "team/app",
        "1.4",
        Origin.CONSOLE,
    )
    assert record.seconds_since_push is None
    assert record.correlation_id == "a-name"


def test_a_retried_image_is_recorded_although_its_request_has_the_first_failure():
    again = BY_HAND | {"outcome": "failed", "reason": "GzipError", "detail": "The cause stands elsewhere"}

    record = parse_record(CAUGHT | {"request": again})

    assert record.image is not None
    assert record.image.repository == "team/app"


def test_a_failed_execution_is_recorded_by_its_input():
    push = event("push")

    record = parse_record(status_change(push))

    assert (record.outcome, record.reason) == (Outcome.FAILED, "GzipError")
    assert record.detail == "layer sha256:7f: truncated"
    assert record.image is not None
    assert record.image.repository == push["detail"]["repository-name"]
    assert str(record.image.digest) == push["detail"]["image-digest"]
    assert record.correlation_id == push["id"]
    assert (record.execution.arn, record.seconds) == (EXECUTION, 46.1)


@pytest.mark.parametrize(
    "told",
    [
        CAUGHT | {"error": {"Error": "", "Cause": ""}},
        CAUGHT | {"error": {"Cause": "no name"}},
        status_change(BY_HAND, error="", cause=""),
    ],
    ids=["caught, empty", "caught, none", "from outside, empty"],
)
def test_an_error_without_a_name_has_a_reason(told):
    record = parse_record(told)

    assert (record.outcome, record.reason) == (Outcome.FAILED, "FAILED")
    assert record.reason in known_reasons()


def test_a_failure_and_a_result_of_one_event_have_the_same_correlation_id():
    assert parse_record(result(PUBLISHED)).correlation_id == PUSH_ID


@pytest.mark.parametrize("status", ["TIMED_OUT", "ABORTED"])
def test_a_failed_execution_without_an_error_has_its_status_as_reason(status):
    record = parse_record(status_change(BY_HAND, status=status, error=None, cause=None))

    assert (record.outcome, record.reason, record.detail) == (Outcome.FAILED, status, "")


@pytest.mark.parametrize(
    "started_with",
    ["", "no JSON", "[]", "null", {"repository": "APP"}, {"detail-type": "ECR Image Scan"}, "[" * 100_000],
    ids=["nothing", "text", "list", "null", "wrong name", "wrong event", "deep"],
)
def test_an_execution_that_failed_by_an_invalid_request_is_recorded(started_with):
    record = parse_record(status_change(started_with))

    assert (record.outcome, record.image, record.correlation_id) == (Outcome.FAILED, None, "a-name")


@pytest.mark.parametrize(
    ("cause", "detail"),
    [
        ("Stopped by hand", "Stopped by hand"),
        ('{"errorMessage": 7}', '{"errorMessage": 7}'),
        ("", ""),
        (json.dumps({"errorMessage": "x" * 30_000}), "x" * (CAUSE_CHARACTERS - 3) + "..."),
    ],
    ids=["text", "no message", "nothing", "long"],
)
def test_a_cause_is_shortened_to_its_message(cause, detail):
    assert parse_record(status_change(BY_HAND, cause=cause)).detail == detail


def test_a_reason_is_bounded():
    assert len(parse_record(status_change(BY_HAND, error="E" * 300)).reason or "") == 80


def test_an_invalid_time_of_push_gives_no_time_to_index():
    request = replace(REQUEST, pushed_at="yesterday")

    assert parse_record(result(replace(PUBLISHED, request=request))).seconds_since_push is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "outcome: expected object"),
        ({}, "outcome: execution: expected object"),
        ({"execution": EXECUTION_FACTS | {"ended_at": "soon"}}, "execution.ended_at: expected a time"),
        ({"execution": EXECUTION_FACTS}, "result: expected object"),
        ({"execution": EXECUTION_FACTS, "result": {"outcome": "lost"}}, "result.outcome: expected one of"),
        ({"detail-type": "ECR Image Action"}, "detail-type: expected 'Step Functions"),
        (status_change(BY_HAND, status="RUNNING"), "detail.status: expected one of FAILED"),
        (status_change(BY_HAND, stopDate=None), "detail.stopDate: expected integer"),
    ],
    ids=["list", "nothing", "no time", "no result", "no outcome", "other event", "running", "not ended"],
)
def test_an_invalid_outcome_names_the_path(document, message):
    with pytest.raises(InvalidDocument, match=message):
        parse_record(document)
