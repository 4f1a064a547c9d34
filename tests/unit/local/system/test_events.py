from __future__ import annotations

import json

import pytest

from local.system.events import EventBus, event_of, input_for
from local.system.template import Rule, Target

EVENT = {"source": "aws.ecr", "detail": {"image-tag": "1.0", "size": 5, "digest": None}}


def bus_of(*patterns: object, enabled: bool = True) -> tuple[EventBus, list[tuple[str, object]]]:
    delivered: list[tuple[str, object]] = []
    rules = [
        Rule(name=str(n), pattern=json.dumps(p), enabled=enabled, targets=(Target(arn=f"arn:{n}"),))
        for n, p in enumerate(patterns)
    ]
    return EventBus(rules, lambda arn, input_: delivered.append((arn, input_))), delivered


def test_an_event_goes_to_the_targets_of_each_rule_that_accepts_it():
    bus, delivered = bus_of({"source": ["aws.ecr"]}, {"source": ["aws.s3"]}, {"detail": {"size": [5]}})

    bus.put(EVENT)
    bus.drain()

    assert delivered == [("arn:0", EVENT), ("arn:2", EVENT)]
    assert bus.dropped == []
    bus.close()


def test_an_event_that_no_rule_accepts_is_dropped_and_counted():
    bus, delivered = bus_of({"detail": {"image-tag": [{"anything-but": "1.0"}]}})

    bus.put(EVENT)
    bus.close()

    assert delivered == []
    assert bus.dropped == [EVENT]


def test_events_of_a_service_reach_the_rules_that_accept_them():
    entry = {
        "Source": "soci.index-builder",
        "DetailType": "Done",
        "Detail": '{"tag": "1"}',
        "Resources": ["a"],
    }
    event = event_of(entry)
    bus, delivered = bus_of({"source": ["soci.index-builder"], "detail": {"tag": ["1"]}})

    bus.put(event)
    bus.close()

    assert delivered == [("arn:0", event)]
    assert (event["detail-type"], event["resources"]) == ("Done", ["a"])


def test_a_disabled_rule_accepts_nothing():
    bus, delivered = bus_of({"source": ["aws.ecr"]}, enabled=False)

    bus.put(EVENT)
    bus.close()

    assert delivered == []


def test_a_failed_delivery_does_not_stop_the_next_ones():
    seen = []

    def deliver(arn: str, event: object) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise RuntimeError(arn)

    bus = EventBus([Rule(name="r", pattern="{}", enabled=True, targets=(Target(arn="a"),))], deliver)

    bus.put(EVENT)
    bus.put({"second": True})
    bus.close()

    assert seen == [EVENT, {"second": True}]
    assert [str(error) for error in bus.errors] == ["a"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(arn="a"), EVENT),
        (Target(arn="a", input='{"constant": 1}'), {"constant": 1}),
        (Target(arn="a", input_path="$.detail.image-tag"), "1.0"),
        (
            Target(
                arn="a",
                input_paths={"tag": "$.detail.image-tag", "size": "$.detail.size", "none": "$.detail.digest"},
                input_template='{"tag": <tag>, "text": "tag <tag> of <size>", "size": <size>, "none": <none>}',
            ),
            {"tag": "1.0", "text": "tag 1.0 of 5", "size": 5, "none": None},
        ),
    ],
    ids=["event", "constant", "path", "template"],
)
def test_the_input_of_a_target_is_made_as_the_rule_says(target, expected):
    assert input_for(target, EVENT) == expected


def test_events_are_lost_silently_until_healed():
    bus, delivered = bus_of({"source": ["aws.ecr"]})
    other = {**EVENT, "detail": {"size": 6}}
    bus.lose(lambda event: event["detail"]["size"] == 5)

    bus.put(EVENT)
    bus.put(other)
    bus.heal()
    bus.put(EVENT)
    bus.close()

    assert delivered == [("arn:0", other), ("arn:0", EVENT)]
    assert bus.lost == [EVENT]
    assert bus.dropped == []
