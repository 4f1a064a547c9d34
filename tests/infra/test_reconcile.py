"""The daily search for missed images: the deployed schedule and the request it sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from infra.config import StackConfig
from local.system.events import input_for
from local.system.template import Template
from soci.service.reindex.request import ReindexRequest
from tests.infra.stacks import EVERYTHING, as_list, resolved, resources, statements, template_of

DUE = {"source": "aws.events", "detail-type": "Scheduled Event", "time": "2026-11-24T03:15:00Z", "detail": {}}


def schedules(template):
    return [
        rule
        for rule in resources(template, "AWS::Events::Rule").values()
        if "ScheduleExpression" in rule and "EventPattern" not in rule
    ]


def asked(context):
    """The request of the search, as the function that lists images reads it."""
    name = StackConfig.from_context(context).stack_name
    (schedule,) = Template(template_of(context), stack_name=name).schedules()
    (target,) = schedule.targets
    return ReindexRequest.parse(input_for(target, DUE))


def test_the_search_runs_once_a_day_and_starts_a_reindex():
    (rule,) = schedules(template_of({}))

    assert rule["ScheduleExpression"] == "cron(15 3 * * ? *)"
    assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": "ReindexRepositories"}]


def test_the_hour_can_be_chosen():
    (rule,) = schedules(template_of(EVERYTHING))

    assert rule["ScheduleExpression"] == "cron(15 22 * * ? *)"


def test_the_search_can_be_turned_off():
    template = template_of({"deployment": {"reconcile": {"schedule": "off"}}})

    assert schedules(template) == []
    assert not [name for name, _ in statements(template) if name.startswith("Reconcile")]


def test_the_search_takes_recent_images_except_those_still_in_progress():
    request = asked({})

    assert request.repositories == ("*",)
    assert request.only_missing
    assert request.scheduled
    assert request.since == datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
    assert request.before == datetime(2026, 11, 23, 21, 15, tzinfo=UTC)


@pytest.mark.parametrize("minutes", [30, 60, 61, 1440])
def test_searches_of_following_days_leave_no_gap(minutes):
    request = asked({"deployment": {"image_timeout_minutes": minutes, "reconcile": {"days": 2}}})

    assert (request.before - request.since).days >= 1
    assert (datetime(2026, 11, 24, 3, 15, tzinfo=UTC) - request.before).total_seconds() >= minutes * 60


def test_a_search_that_cannot_start_is_retried_for_a_day_and_then_kept():
    (rule,) = schedules(template_of({}))
    (target,) = rule["Targets"]
    (queue,) = resources(template_of({}), "AWS::SQS::Queue")

    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [queue, "Arn"]}}


def test_the_schedule_may_start_a_reindex_and_nothing_else():
    allowed = {
        (action, resolved(resource))
        for name, statement in statements(template_of({}))
        if name.startswith("ReconcileStart")
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }

    assert allowed == {("states:StartExecution", resolved({"Ref": "ReindexRepositories"}))}


@pytest.mark.parametrize("rule", ["Push", "Reconcile"])
def test_every_rule_may_send_undelivered_events_to_the_queue(rule):
    (policy,) = resources(template_of({}), "AWS::SQS::QueuePolicy").values()
    senders = [
        json.dumps(statement["Condition"])
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]

    assert [condition for condition in senders if rule in condition]
