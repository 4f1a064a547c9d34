"""The runbook: its commands run and do what it says, and the things that it names exist."""

from __future__ import annotations

import json
import re

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.config import Deployment
from local.system.template import Template
from soci.service.filter.requests import parse_request
from soci.service.outcome.log_line import known_reasons
from soci.service.reindex.request import ReindexRequest
from soci.service.settings.configuration import Configuration
from soci.service.settings.schema import describe
from tests.docs.manual import DOCS, blocks
from tests.docs.terminal import terminal
from tests.infra.stacks import resources, template_of
from tests.unit.service.example_outcomes import status_change

PAGE = "operations.md"
TEXT = (DOCS / PAGE).read_text()
REGION = "eu-central-1"
SETUP, *COMMANDS = blocks(PAGE, "bash")
PUSH = json.loads((DOCS.parent / "tests" / "events" / "push.json").read_text())
FAILED_TWICE = "Images failed"
FAILED_IMAGES = [{"repository": "app", "tag": "1.4", "force": False, "reason": "GzipError"}]
TABLE = "ztocs"
RECORDER = f"arn:aws:lambda:{REGION}:123456789012:function:OutcomeRecorder"


class Account:
    """The parts of a deployed stack that commands see."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.sqs = boto3.client("sqs", region_name=REGION)
        self.states = boto3.client("stepfunctions", region_name=REGION)
        self.queue = self.sqs.create_queue(QueueName="Undelivered")["QueueUrl"]
        self.index_image = self._machine("IndexImage")
        self.reindex = self._machine("ReindexRepositories")
        outputs = {
            "IndexImageArn": self.index_image,
            "ReindexRepositoriesArn": self.reindex,
            "UndeliveredUrl": self.queue,
            "OutcomeRecorderArn": RECORDER,
            "ZtocTableName": TABLE,
        }
        assert outputs.keys() <= template_of({})["Outputs"].keys()
        self.outputs = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]
        boto3.client("cloudwatch", region_name=REGION).put_metric_alarm(
            AlarmName="soci-index-builder-IndexingFailed",
            Namespace="n",
            MetricName="m",
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            Threshold=1,
            Period=60,
            Statistic="Sum",
        )
        self.redriven = []
        self.not_redrivable = set()

    def record_ztoc(self, layer, settings):
        """Add a row to the table of zTOCs; return a function that counts the rows."""
        dynamodb = boto3.client("dynamodb", region_name=REGION)
        if TABLE not in dynamodb.list_tables()["TableNames"]:
            (properties,) = resources(template_of({}), "AWS::DynamoDB::Table").values()
            kept = ("KeySchema", "AttributeDefinitions", "BillingMode")
            dynamodb.create_table(TableName=TABLE, **{name: properties[name] for name in kept})
        dynamodb.put_item(TableName=TABLE, Item={"layer": {"S": layer}, "settings": {"S": settings}})
        return lambda: dynamodb.scan(TableName=TABLE)["Count"]

    def _machine(self, name):
        definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
        role = "arn:aws:iam::123456789012:role/role"
        machine = self.states.create_state_machine(name=name, definition=definition, roleArn=role)
        return machine["stateMachineArn"]

    def fail(self, machine):
        """Start an execution that fails; return its ARN."""
        self.monkeypatch.setenv("SF_EXECUTION_HISTORY_TYPE", "FAILURE")
        arn = self.states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
        self.monkeypatch.delenv("SF_EXECUTION_HISTORY_TYPE")
        return arn

    def describe_stack(self, parameters):
        """Answer DescribeStacks."""
        assert parameters == {"StackName": "soci-index-builder"}
        return {"Stacks": [{"Outputs": self.outputs}]}

    def redrive(self, parameters):
        """Answer RedriveExecution."""
        arn = parameters["executionArn"]
        if arn in self.not_redrivable:
            raise ClientError(
                {"Error": {"Code": "ExecutionNotRedrivable", "Message": arn}}, "RedriveExecution"
            )
        self.redriven.append(arn)
        return {"redriveDate": "2026-01-31T00:00:00Z"}

    def history(self, parameters):
        """Answer GetExecutionHistory of a re-index in which images failed twice, the latest event first."""
        assert parameters["reverseOrder"]
        entered = {"name": FAILED_TWICE, "input": json.dumps({"failed": FAILED_IMAGES})}
        before = {"name": "List images", "input": "{}"}
        return {
            "events": [
                {"type": "ExecutionFailed", "executionFailedEventDetails": {"error": "ImagesFailed"}},
                {"type": "TaskStateEntered", "stateEnteredEventDetails": entered},
                {"type": "TaskStateEntered", "stateEnteredEventDetails": before},
            ]
        }

    def leave_undelivered(self, target, body):
        """Put a message into the queue as EventBridge does; without a target, as Lambda does."""
        attributes = {"TARGET_ARN": target, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "for a reason"}
        if target is None:
            attributes = {"ErrorCode": "200", "ErrorMessage": "for a reason"}
        self.sqs.send_message(
            QueueUrl=self.queue,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    def waiting(self):
        """Count the messages in the queue, received ones included."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def inputs(self, machine):
        """Return the inputs of the executions."""
        found = self.states.list_executions(stateMachineArn=machine)["executions"]
        return [
            self.states.describe_execution(executionArn=one["executionArn"])["input"]
            for one in reversed(found)
        ]


@pytest.fixture
def account(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Account(monkeypatch)


@pytest.fixture
def shell(account, tmp_path):
    answers = {
        ("cloudformation", "DescribeStacks"): account.describe_stack,
        ("stepfunctions", "RedriveExecution"): account.redrive,
        ("stepfunctions", "GetExecutionHistory"): account.history,
        ("lambda", "Invoke"): lambda _: {"StatusCode": 200},
    }
    with terminal(tmp_path, region=REGION, answers=answers) as made:
        yield made


def command(heading, word):
    """Return the command below a heading that contains a word."""
    (found,) = (block.text for block in COMMANDS if block.heading == heading and word in block.text)
    return found


def run(shell, text, **names):
    for name, value in names.items():
        text = text.replace(name, value)
    return shell.run(SETUP.text + text)


REPLAY = command("Replay events that were not delivered", "while")


@pytest.mark.parametrize(
    "block", COMMANDS, ids=lambda block: f"{block.heading}: {block.text.split(chr(10))[0][:30]}"
)
def test_every_command_runs(account, shell, block):
    failed = account.fail(account.index_image)
    account.fail(account.reindex)
    account.leave_undelivered(account.index_image, json.dumps(PUSH))
    account.record_ztoc("sha256:1", "output=1 plain")

    done = run(shell, block.text, EXECUTION_ARN=failed)

    assert (done.stderr, done.returncode) == ("", 0)


def test_a_command_with_a_wrong_option_would_fail_here(shell):
    assert "no option --queue" in shell.run("aws sqs receive-message --queue x").stderr
    assert "want QueueUrl" in shell.run("aws sqs receive-message").stderr
    assert "no command redrive" in shell.run("aws stepfunctions redrive --execution-arn x").stderr


def test_outputs_are_found_by_name(account, shell):
    done = run(shell, 'echo "$INDEX_IMAGE $REINDEX $UNDELIVERED"')

    assert done.stdout == f"{account.index_image} {account.reindex} {account.queue}\n"


def test_the_cause_of_an_undelivered_message_is_shown(account, shell):
    account.leave_undelivered(account.index_image, json.dumps(PUSH))

    done = run(shell, command("Replay events that were not delivered", "ERROR_CODE"))

    assert done.stdout == f"NO_PERMISSIONS\tfor a reason\t{json.dumps(PUSH)}\n"
    assert account.waiting() == 1


def test_a_replay_sends_each_event_to_its_target(account, shell):
    strange = json.dumps({**PUSH, "id": "\t \n \" ' \\ $HOME `x` ü"})
    failure = json.dumps(status_change(PUSH, cause="a\tb"))
    for body in (json.dumps(PUSH), strange):
        account.leave_undelivered(account.index_image, body)
    account.leave_undelivered(RECORDER, failure)
    account.leave_undelivered(None, failure)  # by Lambda itself
    account.leave_undelivered(account.reindex, json.dumps({"detail-type": "Scheduled Event"}))

    done = run(shell, REPLAY)

    assert (done.stderr, done.returncode, account.waiting()) == ("", 0, 0)
    assert sorted(account.inputs(account.index_image)) == sorted([json.dumps(PUSH), strange])
    assert shell.called("Invoke") == [{"FunctionName": RECORDER, "Payload": failure.encode()}] * 2
    assert account.inputs(account.reindex) == []


def test_a_replay_prints_what_is_left_in_the_queue(account, shell):
    account.leave_undelivered(account.index_image + "-gone", json.dumps(PUSH))

    assert json.loads(run(shell, REPLAY).stdout) == {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "1",
    }


def test_a_replay_ends_only_after_all_servers_of_the_queue_were_asked():
    (queue,) = resources(template_of({}), "AWS::SQS::Queue").values()

    assert queue["ReceiveMessageWaitTimeSeconds"] == 10


def test_the_request_of_a_daily_search_is_replayed_as_well(account, shell):
    request = json.dumps({"repositories": ["*"], "only_missing": True})
    account.leave_undelivered(account.reindex, request)

    run(shell, REPLAY)

    assert account.inputs(account.reindex) == [request]


def test_a_replay_that_is_refused_keeps_the_event_and_stops(account, shell):
    account.leave_undelivered(account.index_image + "-gone", json.dumps(PUSH))
    account.leave_undelivered(account.index_image + "-gone", json.dumps(PUSH))

    done = run(shell, REPLAY)

    assert "StateMachineDoesNotExist" in done.stderr
    assert len(shell.called("StartExecution")) == 1
    assert account.waiting() == 2


@pytest.mark.parametrize("target", [RECORDER, None], ids=["left by EventBridge", "left by Lambda"])
def test_a_replay_keeps_an_event_on_which_the_recorder_fails(account, tmp_path, target):
    account.leave_undelivered(target, json.dumps(status_change(PUSH)))
    answers = {
        ("cloudformation", "DescribeStacks"): account.describe_stack,
        ("lambda", "Invoke"): lambda _: {"StatusCode": 200, "FunctionError": "Unhandled"},
    }

    with terminal(tmp_path, region=REGION, answers=answers) as shell:
        run(shell, REPLAY)

    assert len(shell.called("Invoke")) == 1
    assert account.waiting() == 1


def test_every_failed_execution_is_redriven_although_one_cannot_be(account, shell):
    failed = [account.fail(account.index_image) for _ in range(3)]
    account.states.start_execution(stateMachineArn=account.index_image, input="{}")
    account.not_redrivable = {failed[1]}

    done = run(shell, command("Run failures again", "while read"))

    assert done.returncode == 0
    assert "ExecutionNotRedrivable" in done.stderr
    assert set(account.redriven) == {failed[0], failed[2]}


def test_the_images_of_a_reindex_that_failed_are_named(account, shell):
    failed = account.fail(account.reindex)
    deployed = Template(template_of({}), stack_name="soci-index-builder").resources["ReindexRepositories"]
    states = json.loads(deployed.properties["DefinitionString"])["States"]

    done = run(shell, command("ReindexFailed", "get-execution-history"), EXECUTION_ARN=failed)

    assert json.loads(done.stdout)["failed"] == FAILED_IMAGES
    assert states[FAILED_TWICE]["Parameters"]["Payload"]["failed.$"] == "$.failed"


def test_without_failures_nothing_is_redriven(account, shell):
    done = run(shell, command("Run failures again", "while read"))

    assert (done.stderr, done.returncode, account.redriven) == ("", 0, [])


def test_the_functions_accept_the_inputs_that_are_started_by_hand(account, shell):
    run(shell, command("Index one image", "start-execution"))
    run(shell, command("Search for what is missing", "start-execution"))

    (image,) = map(json.loads, account.inputs(account.index_image))
    (search,) = map(json.loads, account.inputs(account.reindex))
    assert parse_request(image, "execution").tag == "1.4"
    assert ReindexRequest.parse(search).only_missing
    assert ReindexRequest.parse(search).since is not None


def test_the_inputs_below_by_hand_are_accepted():
    shown = TEXT.partition("\n## By hand\n")[2].partition("\n## ")[0]
    image, search = map(json.loads, re.findall(r"^    (\{.+\})$", shown, re.MULTILINE))

    assert parse_request(image, "execution").tag == "1.4"
    assert ReindexRequest.parse(search).only_missing


def test_a_wrong_index_is_made_again_by_force(account, shell):
    run(shell, command("An index is wrong", "$INDEX_IMAGE"))
    run(shell, command("An index is wrong", "$REINDEX"))

    (image,) = map(json.loads, account.inputs(account.index_image))
    (search,) = map(json.loads, account.inputs(account.reindex))
    assert parse_request(image, "execution").force
    assert ReindexRequest.parse(search).force


def test_all_rows_of_ztocs_are_deleted_whatever_their_keys(account, shell):
    for tool in ("SOCI Index Builder v1", 'a "b" \\ $HOME `x` \' ü'):
        left = account.record_ztoc("sha256:1", f"output=1 plain tool={tool}")
    assert left() == 2

    done = run(shell, command("An index is wrong", "delete-item"))

    assert (done.stderr, done.returncode, left()) == ("", 0, 0)


def test_the_errors_of_the_page_exist():
    table = TEXT.partition("## What an error means")[2].partition("##")[0]
    names = re.findall(
        r"`([A-Z][\w.]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    )

    assert len(names) > 15
    assert set(names) <= known_reasons()


def test_the_settings_of_the_page_exist():
    known = {row.name for row in [*describe(Deployment, "deployment"), *describe(Configuration, "settings")]}
    sections = {name.rpartition(".")[0] for name in known}

    assert set(re.findall(r"`((?:deployment|settings)\.[\w.]+)`", TEXT)) <= known | sections


def test_the_page_has_one_statement_for_a_key():
    (statement,) = (json.loads(block.text) for block in blocks(PAGE, "json"))

    assert statement["Effect"] == "Allow"
    assert "cloudwatch.amazonaws.com" in statement["Principal"]["Service"]
