from __future__ import annotations

import json
from typing import Any

import pytest

from local.system.template import ACCOUNT, REGION, Template, UnknownValue

FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "handler.main"}}


def template_of(resources: dict[str, Any], **document: Any) -> Template:
    return Template({"Resources": resources, **document}, stack_name="stack")


def resolved(value: object, **document: Any) -> Any:
    """What a value of a template comes to, beside a function F."""
    resources = {"F": FUNCTION, "Q": {"Type": "AWS::SQS::Queue", "Properties": {"Tags": value}}}
    return template_of(resources, **document).resources["Q"].properties.get("Tags")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "AWS::Region"}, REGION),
        ({"Fn::Join": [".", [{"Ref": "AWS::AccountId"}, "dkr", {"Ref": "AWS::URLSuffix"}]]}, None),
        ({"Fn::Sub": "${AWS::Partition}-${!kept}-${AWS::StackName}"}, "aws-${kept}-stack"),
        ({"Fn::Sub": ["${word} ${AWS::Region}", {"word": {"Ref": "AWS::Partition"}}]}, f"aws {REGION}"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "a/b/c"]}]}, "b"),
        ({"Fn::If": ["Yes", "yes", "no"]}, "yes"),
        ({"Fn::If": ["No", "yes", {"Ref": "AWS::NoValue"}]}, None),
        ([{"Ref": "AWS::NoValue"}, "kept", {"key": {"Ref": "Size"}}], ["kept", {"key": 5}]),
    ],
    ids=["ref", "join", "sub", "sub with values", "select", "if", "no value", "within a list"],
)
def test_values_are_resolved_as_in_a_deployment(value, expected):
    conditions = {"Yes": {"Fn::Equals": ["a", "a"]}, "No": {"Fn::Not": [{"Fn::Equals": ["a", "a"]}]}}
    if "Fn::Join" in value:
        expected = f"{ACCOUNT}.dkr.amazonaws.com"

    assert resolved(value, Conditions=conditions, Parameters={"Size": {"Default": 5}}) == expected


def test_a_function_is_found_by_its_references_in_the_template():
    arn = resolved({"Fn::GetAtt": ["F", "Arn"]})
    template = template_of(
        {"F": FUNCTION, "R": {"Type": "AWS::SQS::Queue", "Properties": {"A": {"Fn::GetAtt": "F.Arn"}}}}
    )

    assert arn.startswith(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:stack-F-")
    assert template.by_arn(template.resources["R"].properties["A"]).logical_id == "F"


@pytest.mark.parametrize(
    "value",
    [{"Ref": "Nothing"}, {"Fn::GetAtt": ["F", "Colour"]}, {"Fn::GetAtt": ["G", "Arn"]}, {"Fn::Cidr": []}],
    ids=["reference", "attribute", "resource", "function"],
)
def test_an_unknown_value_is_an_error_that_names_it(value):
    ((key, argument),) = value.items()

    with pytest.raises(UnknownValue, match=key if key == "Fn::Cidr" else str(argument[0])):
        resolved(value)


@pytest.mark.parametrize("key", ["DefinitionString", "Definition"])
def test_a_definition_is_read_in_either_form(key):
    definition = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${F}"}}}
    value: Any = definition if key == "Definition" else {"Fn::Join": ["", [json.dumps(definition), ""]]}
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {key: value, "DefinitionSubstitutions": {"F": {"Fn::GetAtt": ["F", "Arn"]}}},
    }

    template = template_of({"F": FUNCTION, "M": machine})

    assert template.definitions()["M"]["States"]["A"]["Resource"] == template.resources["F"].arn


def test_rules_have_patterns_and_targets_and_schedules_are_none():
    rules = {
        "Push": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": ["aws.ecr"]},
                "State": "DISABLED",
                "Targets": [{"Id": "1", "Arn": {"Fn::GetAtt": ["F", "Arn"]}, "InputPath": "$.detail"}],
            },
        },
        "Nightly": {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "rate(1 day)"}},
    }

    template = template_of({"F": FUNCTION, **rules})

    (rule,) = template.rules()
    assert json.loads(rule.pattern) == {"source": ["aws.ecr"]}
    assert not rule.enabled
    assert [(target.arn, target.input_path) for target in rule.targets] == [
        (template.resources["F"].arn, "$.detail")
    ]


def test_two_deployments_of_a_template_share_no_name():
    first, second = (template_of({"F": FUNCTION}).resources["F"].name for _ in range(2))

    assert first != second
