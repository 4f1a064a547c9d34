from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from soci.service import metrics
from soci.service.filter.requests import EVENT_KINDS
from soci.service.metrics import METRICS, NAMESPACE, Dimension, embedded
from soci.service.outcome.log_line import OTHER, known_reasons, outcome_line
from soci.service.outcome.record import parse_record
from soci.service.outcomes import ImageReason
from tests.unit.service.example_outcomes import (
    BY_HAND,
    CAUGHT,
    PUBLISHED,
    SIZES,
    SKIPPED,
    result,
    status_change,
)
from tests.unit.service.places import event


def line(told):
    return outcome_line(parse_record(told), stack="soci-prod", sizes=SIZES)


def told_metrics(document: Any) -> dict[Any, Any]:
    """Values by metric and dimensions, as CloudWatch takes them out of a line."""
    found = {}
    for directive in document["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == NAMESPACE
        for names in directive["Dimensions"]:
            values = tuple(document[name] for name in names)
            assert all(isinstance(value, str) and value for value in values), "a dimension has a value"
            for metric in directive["Metrics"]:
                assert isinstance(document[metric["Name"]], int | float)
                found[metric["Name"], *values] = document[metric["Name"]]
    return found


def test_the_line_of_an_indexed_image_has_all_its_details():
    document = line(result(PUBLISHED))

    assert (document["outcome"], document["repository"], document["tag"]) == ("indexed", "team/app", "1.4")
    assert (document["streamed_bytes"], document["reused_bytes"], document["ztoc_bytes"]) == (
        3_000_000,
        7_000_000,
        12_345,
    )
    assert document["layer_bytes"] == 10_500_000
    assert document["work"] == {"layers": 4, "layer_seconds": 31.4, "publish_seconds": 2.5}
    assert json.loads(json.dumps(document)) == document


def test_metrics_are_counted_by_stack_and_outcome():
    assert told_metrics(line(result(PUBLISHED))) == {
        ("Images", "soci-prod"): 1,
        ("Images", "soci-prod", "indexed"): 1,
        ("ImagesPushed", "soci-prod"): 1,
        ("PushToIndexSeconds", "soci-prod"): 48.1,
        ("BytesStreamed", "soci-prod"): 3_000_000,
        ("BytesReused", "soci-prod"): 7_000_000,
        ("EstimatedCostUsd", "soci-prod"): pytest.approx(0.00152, rel=0.2),
    }


def test_a_skipped_image_is_counted_by_its_reason_and_has_no_time_to_index():
    counted = told_metrics(line(result(SKIPPED)))

    assert counted["Images", "soci-prod", "skipped", "image-too-small"] == 1
    assert not [name for name, *_ in counted if name == "PushToIndexSeconds"]
    assert counted["BytesStreamed", "soci-prod"] == 0


def test_the_line_of_a_failure_has_no_bytes_and_no_cost():
    assert not {"layer_bytes", "streamed_bytes", "cost_usd", "work"} & line(CAUGHT).keys()


def test_a_failure_is_counted_by_the_name_of_the_error_without_bytes():
    counted = told_metrics(line(status_change(event("push"))))

    assert counted == {
        ("Images", "soci-prod"): 1,
        ("Images", "soci-prod", "failed"): 1,
        ("Images", "soci-prod", "failed", "GzipError"): 1,
        ("ImagesPushed", "soci-prod"): 1,
    }


def test_an_image_by_hand_is_not_counted_as_a_push():
    assert ("ImagesPushed", "soci-prod") not in told_metrics(line(CAUGHT))
    assert len(EVENT_KINDS) == 3


def test_an_unknown_reason_is_counted_as_other():
    document = line(status_change(BY_HAND, error="whatever a person wrote"))

    assert document["reason"] == OTHER
    assert document["reason_text"] == "whatever a person wrote"
    assert ("Images", "soci-prod", "failed", OTHER) in told_metrics(document)


def test_the_known_reasons_are_all_of_ours_and_the_usual_ones_of_aws():
    reasons = known_reasons()

    assert {*map(str, ImageReason)} < reasons
    assert {"GzipError", "Throttled", "EventRefused", "Sandbox.Timedout", "ABORTED"} < reasons
    assert len(reasons) < 100, "each is a metric that is paid for"


def test_a_request_that_cannot_be_read_is_counted():
    counted = told_metrics(line(status_change("", error="InvalidRequest", cause="")))

    assert counted["Images", "soci-prod", "failed", "InvalidRequest"] == 1


def test_metrics_have_the_time_of_the_end_in_milliseconds():
    assert line(result(PUBLISHED))["_aws"]["Timestamp"] == 1773480461100


def test_declared_metrics_have_names_of_their_own_and_bounded_dimensions():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    members = {*line(result(PUBLISHED))} - {
        "_aws",
        *map(str, Dimension),
        *(metric.name for metric in METRICS),
    }
    assert not members & {metric.name for metric in METRICS}
    for metric in METRICS:
        assert metric.dimensions
        assert all(len({*chosen}) == len(chosen) <= 3 for chosen in metric.dimensions)
        assert "repository" not in {str(one) for chosen in metric.dimensions for one in chosen}


def test_a_set_of_dimensions_with_an_absent_one_is_not_published():
    told = embedded({metrics.IMAGES: 1}, {Dimension.STACK: "s"}, timestamp_ms=1)

    assert told_metrics(told) == {("Images", "s"): 1}


def test_the_same_image_costs_less_where_layers_are_reused():
    idle = replace(PUBLISHED, work=replace(PUBLISHED.work, layer_seconds=1.0))

    assert line(result(idle))["cost_usd"] < line(result(PUBLISHED))["cost_usd"] / 4
