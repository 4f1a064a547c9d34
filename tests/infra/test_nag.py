from __future__ import annotations

import pytest
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks

from tests.infra.stacks import EVERYTHING, NARROW, make_stack


def violations(stack):
    report = AwsSolutionsChecks(stack).validate_scope(stack)
    return [
        f"{violation.rule_name}: {resource.construct_path}"
        for violation in report.violations
        for resource in violation.violating_resources
    ]


WITH_A_TOPIC = {"deployment": {"alarms": {"email": "ops@example.com"}}}
"""A stack whose topic no chosen key encrypts."""


@pytest.mark.parametrize(
    "context",
    [{}, {"settings": NARROW}, WITH_A_TOPIC, EVERYTHING],
    ids=["defaults", "narrow", "topic", "everything"],
)
def test_the_rules_of_aws_solutions_hold_or_the_exception_has_a_reason(context):
    assert violations(make_stack(context)) == []


def test_a_resource_that_breaks_a_rule_is_found():
    stack = make_stack({})
    sqs.Queue(stack, "Open")

    assert "AwsSolutions-SQS4: Soci/Open/Resource" in violations(stack)
