from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from aws_cdk import App

from infra import states
from infra.config import InvalidConfig
from infra.functions import MAX_SETTINGS_BYTES
from soci.service.cost import FunctionSizes
from soci.service.settings.configuration import Configuration
from tests.infra.stacks import (
    BOUNDARY_ARN,
    EVERYTHING,
    KEY_ARN,
    NARROW,
    REGION,
    all_states,
    as_list,
    definition,
    make_stack,
    resolved,
    resources,
    statements,
    template_of,
)

CONTEXTS = {"defaults": {}, "narrow": {"settings": NARROW}, "everything": EVERYTHING}
each_context = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS.keys())

FUNCTIONS = {
    "ImageFilter": "handler.handler",
    "IndexLayer": "handler.index_layer",
    "PublishIndex": "handler.publish_index",
    "ImageLister": "handler.handler",
    "OutcomeRecorder": "handler.handler",
}
WITHOUT_RESOURCES = {
    "ecr:GetAuthorizationToken",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
"""Actions that IAM cannot restrict to resources, or whose resources do not exist before the deployment."""

REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/"
READ = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
UPLOAD = {"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}
LIST = {"ecr:DescribeRepositories", "ecr:DescribeImages"}


def allowed(template, function=None):
    """Pairs of action and resource that the role of a function, or any role, allows."""
    return {
        (action, resolved(resource))
        for name, statement in statements(template)
        if statement["Effect"] == "Allow" and (function is None or f"{function}Role" in name)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def only_queue(template):
    """Its logical ID."""
    (name,) = resources(template, "AWS::SQS::Queue")
    return name


@each_context
def test_no_role_has_a_wildcard_action(context):
    assert not [action for action, _ in allowed(template_of(context)) if "*" in action]


@each_context
def test_only_actions_without_resources_are_allowed_on_all_resources(context):
    wide = {action for action, resource in allowed(template_of(context)) if resource == "*"}

    assert wide <= WITHOUT_RESOURCES


@each_context
def test_no_role_has_a_managed_policy(context):
    assert not [
        role
        for role in resources(template_of(context), "AWS::IAM::Role").values()
        if "ManagedPolicyArns" in role
    ]


@pytest.mark.parametrize(
    ("function", "actions"),
    [
        ("ImageFilter", READ),
        ("IndexLayer", READ | UPLOAD),
        ("PublishIndex", READ | UPLOAD | {"ecr:PutImage"}),
        ("ImageLister", READ | LIST),
    ],
)
def test_a_function_may_do_in_the_registry_what_it_needs(function, actions):
    ecr = {action for action, _ in allowed(template_of({}), function) if action.startswith("ecr:")}

    assert ecr == actions | {"ecr:GetAuthorizationToken"}


def test_functions_reach_only_the_chosen_repositories():
    template = template_of({"settings": NARROW})
    chosen = {f"{REPOSITORY}team/*", f"{REPOSITORY}shop-?"}
    listing_names = ("ecr:DescribeRepositories", f"{REPOSITORY}*")

    reached = {pair for pair in allowed(template) if pair[0] in READ | UPLOAD | LIST | {"ecr:PutImage"}}

    assert {resource for _, resource in reached - {listing_names}} == chosen


def test_excluded_repositories_are_out_of_reach_although_a_chosen_pattern_takes_them():
    denied = [
        statement
        for _, statement in statements(template_of({"settings": NARROW}))
        if statement["Effect"] == "Deny"
    ]

    assert len(denied) == len(FUNCTIONS) - 1  # the one that records has nothing to do with the registry
    assert {resolved(statement["Resource"]) for statement in denied} == {f"{REPOSITORY}team/lambda-*"}


def test_a_machine_may_call_its_own_functions_and_start_its_own_items():
    pairs = allowed(template_of({}))
    machine = "arn:aws:states:eu-central-1:123456789012:execution:ReindexRepositories.Name"

    assert {resource for action, resource in pairs if action == "states:RedriveExecution"} == {
        f"{machine}/{label}:*" for label in states.MAP_LABELS
    }
    assert {
        resource.rpartition(":")[2] for action, resource in pairs if action == "lambda:InvokeFunction"
    } == set(FUNCTIONS)
    assert ("lambda:InvokeFunction", resolved({"Ref": "ImageLister"})) not in allowed(
        template_of({}), "IndexImage"
    )


def test_the_recorder_may_put_events_on_the_default_bus_and_nothing_else():
    told = {
        (action, resource)
        for action, resource in allowed(template_of({}), "OutcomeRecorder")
        if not action.startswith(("logs:", "xray:"))
    }

    assert {action: resource.partition(".")[0] for action, resource in told} == {
        "events:PutEvents": "arn:aws:events:eu-central-1:123456789012:event-bus/default",
        "sqs:SendMessage": resolved({"Ref": "QUEUE"}).replace("QUEUE", only_queue(template_of({}))),
    }


@each_context
def test_failed_calls_of_the_recorder_are_kept_with_the_undelivered_events(context):
    template = template_of(context)
    functions = resources(template, "AWS::Lambda::Function")

    assert {name for name, one in functions.items() if "DeadLetterConfig" in one} == {"OutcomeRecorder"}
    assert functions["OutcomeRecorder"]["DeadLetterConfig"] == {
        "TargetArn": {"Fn::GetAtt": [only_queue(template), "Arn"]}
    }


@each_context
def test_an_execution_that_ends_without_a_last_state_is_recorded_by_a_rule(context):
    (rule,) = [
        rule
        for rule in resources(template_of(context), "AWS::Events::Rule").values()
        if rule.get("EventPattern", {}).get("source") == ["aws.states"]
    ]

    assert rule["EventPattern"]["detail-type"] == ["Step Functions Execution Status Change"]
    assert rule["EventPattern"]["detail"] == {
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        "stateMachineArn": [{"Ref": "IndexImage"}],
    }
    assert [target["Arn"] for target in rule["Targets"]] == [{"Fn::GetAtt": ["OutcomeRecorder", "Arn"]}]


def test_a_recorded_outcome_is_priced_by_what_was_deployed():
    variables = resources(template_of(EVERYTHING), "AWS::Lambda::Function")["OutcomeRecorder"]["Environment"]
    sizes = FunctionSizes.from_document(json.loads(variables["Variables"]["SOCI_FUNCTION_SIZES"]))

    assert (sizes.architecture, sizes.index_layer, sizes.publish_index) == ("x86_64", 10240, 1769)


def test_events_may_start_index_image_and_nothing_else():
    assert allowed(template_of({}), "ImageEventsStart") == {
        ("states:StartExecution", resolved({"Ref": "IndexImage"}))
    }


@each_context
def test_services_assume_roles_for_this_account_alone(context):
    for role in resources(template_of(context), "AWS::IAM::Role").values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = statement["Principal"]["Service"]
        account = statement.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount")
        assert service == "lambda.amazonaws.com" or account == {"Ref": "AWS::AccountId"}


@each_context
def test_nothing_is_public(context):
    template = template_of(context)
    kinds = {resource["Type"] for resource in template["Resources"].values()}

    assert not kinds & {"AWS::Lambda::Url", "AWS::ApiGateway::RestApi"}
    for permission in resources(template, "AWS::Lambda::Permission").values():
        assert permission["Principal"] == "events.amazonaws.com"
        (rule, attribute) = permission["SourceArn"]["Fn::GetAtt"]
        assert (template["Resources"][rule]["Type"], attribute) == ("AWS::Events::Rule", "Arn")
    for policy in resources(template, "AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Deny" or "Service" in statement["Principal"]


@each_context
def test_logs_are_kept_as_long_as_chosen_and_go_with_the_stack(context):
    template = template_of(context)
    groups = [
        resource for resource in template["Resources"].values() if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    days = context.get("deployment", {}).get("log_retention_days", 90)

    assert len(groups) == len(FUNCTIONS) + 2
    assert {group["Properties"]["RetentionInDays"] for group in groups} == {days}
    assert {group["DeletionPolicy"] for group in groups} == {"Delete"}


def test_everything_with_content_is_encrypted_with_the_chosen_key():
    template = template_of(EVERYTHING)

    assert {group["KmsKeyId"] for group in resources(template, "AWS::Logs::LogGroup").values()} == {KEY_ARN}
    assert {one["KmsKeyArn"] for one in resources(template, "AWS::Lambda::Function").values()} == {KEY_ARN}
    assert {one["KmsMasterKeyId"] for one in resources(template, "AWS::SQS::Queue").values()} == {KEY_ARN}
    assert {resource for action, resource in allowed(template) if action == "kms:Decrypt"} == {KEY_ARN}


@pytest.mark.parametrize("suffix", ["amazonaws.com", "amazonaws.com.cn"])
def test_the_chosen_key_is_used_by_services_for_a_role_and_by_no_role_itself(suffix):
    through: dict[str, set[tuple[str, str]]] = {one: set() for one in ("lambda", "sqs", "dynamodb", "nobody")}
    for name, statement in statements(template_of(EVERYTHING)):
        via = statement.get("Condition", {}).get("StringLike", {}).get("kms:ViaService", "nobody.*")
        (service,) = (one for one in through if fnmatchcase(f"{one}.{REGION}.{suffix}", resolved(via)))
        through[service] |= {(name, one) for one in as_list(statement["Action"]) if one.startswith("kms:")}

    (recorder,) = {name for name, _ in through["sqs"]}
    (indexer,) = {name for name, _ in through["dynamodb"]}
    assert len(through["lambda"]) == len(FUNCTIONS)
    assert {action for _, action in through["lambda"]} == {"kms:Decrypt"}
    assert ("OutcomeRecorderRole" in recorder, "IndexLayerRole" in indexer) == (True, True)
    assert {action for _, action in through["sqs"]} == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert through["nobody"] == set()


def test_the_queue_is_encrypted_without_a_chosen_key_too():
    assert [
        queue["SqsManagedSseEnabled"] for queue in resources(template_of({}), "AWS::SQS::Queue").values()
    ] == [True]


@each_context
def test_the_queue_refuses_unencrypted_transport(context):
    (policy,) = resources(template_of(context), "AWS::SQS::QueuePolicy").values()
    denied = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]

    assert [one["Condition"] for one in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


@each_context
def test_undelivered_events_are_retried_for_a_day_and_then_kept(context):
    for rule in resources(template_of(context), "AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
        assert "DeadLetterConfig" in target


def test_functions_run_the_handlers_on_arm_with_the_newest_python_the_wheels_are_for():
    functions = resources(template_of({}), "AWS::Lambda::Function")

    assert {name: one["Handler"] for name, one in functions.items()} == FUNCTIONS
    for one in functions.values():
        assert one["Runtime"] == "python3.13"
        assert one["Architectures"] == ["arm64"]
        assert len(one["Layers"]) == 2
        assert one["Timeout"] <= 900


def test_the_two_handlers_of_the_builder_are_the_same_code():
    functions = resources(template_of({}), "AWS::Lambda::Function")

    assert functions["IndexLayer"]["Code"] == functions["PublishIndex"]["Code"]
    assert functions["IndexLayer"]["Code"] != functions["ImageFilter"]["Code"]


def test_functions_get_what_the_deployment_chooses():
    template = template_of(EVERYTHING)
    function = resources(template, "AWS::Lambda::Function")["IndexLayer"]

    assert (function["MemorySize"], function["Timeout"]) == (10240, 800)
    assert function["ReservedConcurrentExecutions"] == 40
    assert function["Architectures"] == ["x86_64"]
    assert {
        layer["CompatibleArchitectures"][0]
        for layer in resources(template, "AWS::Lambda::LayerVersion").values()
    } == {"x86_64"}


def test_functions_run_in_the_chosen_vpc_and_may_make_network_interfaces_only_then():
    deployed = resources(template_of(EVERYTHING), "AWS::Lambda::Function").values()

    assert all(
        one["VpcConfig"]
        == {"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
        for one in deployed
    )
    assert "ec2:CreateNetworkInterface" in {action for action, _ in allowed(template_of(EVERYTHING))}
    assert not [action for action, _ in allowed(template_of({})) if action.startswith("ec2:")]


@each_context
def test_functions_read_the_settings_that_were_checked_here(context):
    settings = Configuration.from_document(context.get("settings", {}))

    for one in resources(template_of(context), "AWS::Lambda::Function").values():
        variables = one["Environment"]["Variables"]
        assert Configuration.from_document(json.loads(variables["SOCI_SETTINGS"])) == settings
        assert {"SOCI_SETTINGS", "SOCI_REGISTRY", "SOCI_STACK"} <= set(variables)


def test_settings_that_do_not_fit_into_a_functions_environment_are_refused():
    include = [f"department-{number}/*" for number in range(250)]

    with pytest.raises(
        InvalidConfig, match=rf"settings: \d+ bytes of JSON, want {MAX_SETTINGS_BYTES} at most"
    ):
        make_stack({"settings": {"rules": {"repositories": {"include": include}}}})


@pytest.mark.parametrize("names", ["include", "exclude"])
def test_patterns_of_repositories_that_no_policy_holds_are_refused(names):
    rules = {"repositories": {names: [f"team{number:03}/*" for number in range(160)]}}

    with pytest.raises(InvalidConfig, match=r"settings\.rules\.repositories: got .* want 10240 at most"):
        make_stack({"settings": {"rules": rules}})


def test_as_many_patterns_of_repositories_as_a_policy_holds_are_taken():
    rules = {"repositories": {"include": [f"team{number:03}/*" for number in range(100)]}}

    stack = make_stack({"settings": {"rules": rules}})

    assert stack.stack_name == "soci-index-builder"


@pytest.mark.parametrize(
    ("partition", "suffix"),
    [("aws", "amazonaws.com"), ("aws-us-gov", "amazonaws.com"), ("aws-cn", "amazonaws.com.cn")],
)
def test_the_registry_is_that_of_the_partition(partition, suffix):
    variables = resources(template_of({}), "AWS::Lambda::Function")["ImageFilter"]["Environment"]["Variables"]

    host = resolved(variables["SOCI_REGISTRY"], partition=partition)

    assert host == f"123456789012.dkr.ecr.eu-central-1.{suffix}"


def test_no_arn_and_no_host_names_a_partition():
    text = json.dumps(template_of({"settings": NARROW})["Resources"])

    assert "arn:aws" not in text
    hosts = set(re.findall(r"[\w.-]*amazonaws\.com[\w.-]*", text))
    assert hosts == {f"{service}.amazonaws.com" for service in ("lambda", "states", "events")}  # principals


@each_context
def test_machines_are_traced_log_everything_but_data_and_end(context):
    template = template_of(context)
    machines = resources(template, "AWS::StepFunctions::StateMachine")

    assert list(machines) == ["IndexImage", "ReindexRepositories"]
    for name, machine in machines.items():
        assert machine["TracingConfiguration"] == {"Enabled": True}
        assert machine["LoggingConfiguration"]["Level"] == "ALL"
        assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
        assert definition(template, name)["TimeoutSeconds"] > 900


@each_context
def test_recording_an_outcome_does_not_change_it_in_the_deployed_definition(context):
    for machine in ("IndexImage", "ReindexRepositories"):
        recording = [
            state
            for name, state in all_states(definition(template_of(context), machine))
            if name.startswith("Record")
        ]
        assert recording
        assert [state.get("ResultPath", "$") for state in recording] == [None] * len(recording)


def test_the_limits_of_parallel_work_come_from_the_deployment():
    machine = definition(template_of(EVERYTHING), "ReindexRepositories")

    assert machine["States"]["Index images"]["MaxConcurrency"] == 7
    assert json.dumps(machine).count('"MaxConcurrency": 3') == 2


def test_every_role_has_the_chosen_boundary():
    roles = resources(template_of(EVERYTHING), "AWS::IAM::Role").values()

    assert {role["PermissionsBoundary"] for role in roles} == {BOUNDARY_ARN}
    assert not [
        role
        for role in resources(template_of({}), "AWS::IAM::Role").values()
        if "PermissionsBoundary" in role
    ]


def test_two_stacks_fit_in_one_account():
    name_keys = {
        "FunctionName",
        "StateMachineName",
        "RoleName",
        "QueueName",
        "LayerName",
        "Name",
        "PolicyName",
        "LogGroupName",
    }

    def names(stack_name):
        template = template_of({"stack_name": stack_name})
        assert not [output for output in template["Outputs"].values() if "Export" in output]
        return {
            resource["Properties"][key]
            for resource in template["Resources"].values()
            for key in name_keys & resource["Properties"].keys()
            # the name of a policy is one within its role; a permission names the function that it is for
            if resource["Type"] not in {"AWS::IAM::Policy", "AWS::Lambda::Permission"}
        }

    assert names("one")
    assert not names("one") & names("two")


def test_outputs_name_the_machines():
    outputs = template_of({})["Outputs"]

    for machine in ("IndexImage", "ReindexRepositories"):
        assert outputs[f"{machine}Arn"]["Value"] == {"Ref": machine}
        assert outputs[f"{machine}Name"]["Value"] == {"Fn::GetAtt": [machine, "Name"]}


def test_synthesis_makes_no_lookups():
    stack = make_stack(EVERYTHING)
    app = stack.node.root
    assert isinstance(app, App)

    manifest = json.loads((Path(app.synth().directory) / "manifest.json").read_text())

    assert "missing" not in manifest
