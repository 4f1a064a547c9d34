from __future__ import annotations

import json

import pytest

from infra.config import LEAST_LAYER_SECONDS, Deployment, InvalidConfig, StackConfig
from soci.places.registry.ecr import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS
from soci.places.registry.retry import RetryPolicy
from soci.places.registry.transport import Timeouts
from soci.service.deadline import MARGIN_SECONDS
from soci.service.settings.configuration import Configuration
from tests.architecture.source import ROOT
from tests.infra.stacks import BOUNDARY_ARN, EVERYTHING, KEY_ARN

DEFAULTS = json.loads((ROOT / "cdk.json").read_text())["context"]


def refused(context):
    with pytest.raises(InvalidConfig) as caught:
        StackConfig.from_context(context)
    return str(caught.value)


def test_the_defaults_in_cdk_json_are_the_declared_ones_and_all_of_them():
    assert DEFAULTS["stack_name"] == "soci-index-builder"
    assert DEFAULTS["settings"] == Configuration().to_document()
    assert DEFAULTS["deployment"] == Deployment().to_document()


def test_an_empty_context_means_the_defaults():
    assert StackConfig.from_context({}) == StackConfig.from_context(DEFAULTS)


def test_the_default_functions_deploy_in_a_new_account():
    deployment = Deployment()
    sizes = [
        deployment.image_filter,
        deployment.index_layer,
        deployment.publish_index,
        deployment.image_lister,
        deployment.outcome_recorder,
    ]

    assert all(size.memory_mib <= 3008 for size in sizes)
    assert all(size.reserved_concurrency is None for size in sizes)


def test_every_setting_is_read():
    deployment = StackConfig.from_context(EVERYTHING).deployment

    assert deployment.kms_key_arn == KEY_ARN
    assert deployment.permissions_boundary_arn == BOUNDARY_ARN
    assert deployment.index_layer.reserved_concurrency == 40
    assert deployment.vpc.subnet_ids == ("subnet-0123456789abcdef0",)


def test_a_section_given_on_the_command_line_is_text_and_is_read_as_json():
    config = StackConfig.from_context({"settings": '{"tagging": {"policy": "replace"}}'})

    assert config.settings.tagging.policy == "replace"


def test_keys_of_the_cdk_itself_are_ignored():
    context = {
        "@aws-cdk/core:stackRelativeExports": True,
        "aws:cdk:enable-path-metadata": True,
        "aws-cdk:x": 1,
        "acknowledged-issue-numbers": [34892],
        "cli-telemetry": False,
        "availability-zones": ["eu-central-1a"],
    }

    assert StackConfig.from_context(context).stack_name == "soci-index-builder"


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"stackname": "x"}, "stackname: no such key, there are stack_name, settings, deployment"),
        ({"setting": {}}, "setting: no such key"),
        (
            {"tagging": {"policy": "replace"}},
            "tagging: no such key, there are stack_name, settings, deployment",
        ),
        ({"alarm": {}}, "alarm: no such key"),
        ({"settings": "{"}, "settings: got invalid JSON"),
        ({"settings": []}, "settings: got .*, want an object"),
        ({"settings": {"rules": {"tag": {}}}}, "settings.rules.tag: no such setting"),
        ({"deployment": {"memory": 1}}, "deployment.memory: no such setting"),
        ({"deployment": {"image_filter": {"memory_mib": 64}}}, "deployment.image_filter.memory_mib: got 64"),
        (
            {"deployment": {"index_layer": {"timeout_seconds": 901}}},
            "deployment.index_layer.timeout_seconds: got 901",
        ),
        (
            {"deployment": {"index_layer": {"timeout_seconds": 60}}},
            "deployment.index_layer.timeout_seconds: got 60, want a whole number, 375 to 900",
        ),
        (
            {"deployment": {"publish_index": {"timeout_seconds": 1}}},
            "deployment.publish_index.timeout_seconds: got 1,",
        ),
        (
            {"deployment": {"image_timeout_minutes": 29}},
            "deployment.image_timeout_minutes: got 29, want at least 30, the sum of the timeouts",
        ),
        (
            {"deployment": {"reindex_timeout_hours": 5}},
            "deployment.reindex_timeout_hours: got 5, want at least the 360 minutes",
        ),
        (
            {"deployment": {"log_retention_days": 2}},
            "deployment.log_retention_days: got 2, want one of 1, 3, 5",
        ),
        ({"deployment": {"log_retention_days": True}}, "deployment.log_retention_days: got True"),
        (
            {"deployment": {"images_at_a_time": 31}},
            "deployment.images_at_a_time: got 31, want a whole number",
        ),
        ({"deployment": {"kms_key_arn": "alias/logs"}}, "deployment.kms_key_arn: got .*, want"),
        (
            {"deployment": {"permissions_boundary_arn": "boundary"}},
            "deployment.permissions_boundary_arn: got",
        ),
        ({"deployment": {"reconcile": {"schedule": "hourly"}}}, "deployment.reconcile.schedule: got hourly"),
        ({"deployment": {"reconcile": {"days": 1}}}, "deployment.reconcile.days: got 1, want .*2 to 90"),
        ({"deployment": {"reconcile": {"hour_utc": 24}}}, "deployment.reconcile.hour_utc: got 24"),
        ({"deployment": {"alarms": {"email": "ops"}}}, "deployment.alarms.email: got ops, want .*address"),
        ({"deployment": {"alarms": {"topic_arn": "on-call"}}}, "deployment.alarms.topic_arn: got on-call"),
        (
            {"deployment": {"alarms": {"enabled": False, "email": "ops@example.com"}}},
            "deployment.alarms.email: got ops@example.com, want null",
        ),
        ({"deployment": {"dashboard": "yes"}}, "deployment.dashboard: got yes, want true or false"),
        ({"deployment": {"lambda_architecture": "arm"}}, "deployment.lambda_architecture: got arm"),
        ({"deployment": {"vpc": {"subnet_ids": ["subnet-12345678"]}}}, "deployment.vpc.subnet_ids: want"),
        (
            {"deployment": {"vpc": {"security_group_ids": ["x"]}}},
            r"deployment.vpc.security_group_ids\[0\]: got x",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_bad_value_is_named_by_its_path(context, message):
    with pytest.raises(InvalidConfig, match=message):
        StackConfig.from_context(context)


def test_the_time_limit_for_a_hanging_registry_is_shorter_than_that_of_a_layer():
    one_request = RetryPolicy().deadline_seconds + Timeouts().piece_seconds

    assert 2 * one_request + MARGIN_SECONDS <= LEAST_LAYER_SECONDS


@pytest.mark.parametrize("function", ["publish_index", "image_lister"])
def test_the_time_limit_for_a_hanging_api_is_shorter_than_that_of_a_function(function):
    calls = ATTEMPTS * (CONNECT_SECONDS + READ_SECONDS)

    message = refused({"deployment": {function: {"timeout_seconds": int(calls + MARGIN_SECONDS)}}})

    assert f"deployment.{function}.timeout_seconds" in message


def test_all_bad_values_are_named_at_once():
    message = refused(
        {
            "stack_name": 7,
            "deploiment": {},
            "settings": {"index": {"gzip_level": 0}},
            "deployment": {"layers_at_a_time": 0, "reindex_timeout_hours": "1"},
        }
    )

    for path in (
        "stack_name",
        "deploiment",
        "settings.index.gzip_level",
        "deployment.layers_at_a_time",
        "deployment.reindex_timeout_hours",
    ):
        assert f"{path}: " in message


@pytest.mark.parametrize("name", [None, 7, "", "1st", "a_b", "a" * 129, "name\n"])
def test_a_stack_name_that_cloudformation_would_refuse_is_refused_here(name):
    assert "stack_name: got" in refused({"stack_name": name})
