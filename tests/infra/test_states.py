from __future__ import annotations

import json
import subprocess

import pytest

from infra import states
from infra.states import OUTCOME_FIELDS, Task, Tasks
from soci import errors
from tests.architecture.source import ROOT
from tests.infra.stacks import all_states

LAMBDA = "arn:aws:lambda:eu-central-1:123456789012:function:"
TASKS = Tasks(
    partition="aws",
    image_filter=Task(function_arn=f"{LAMBDA}filter", timeout_seconds=60),
    index_layer=Task(function_arn=f"{LAMBDA}layer", timeout_seconds=900),
    publish_index=Task(function_arn=f"{LAMBDA}publish", timeout_seconds=300),
    image_lister=Task(function_arn=f"{LAMBDA}lister", timeout_seconds=100),
    outcome_recorder=Task(function_arn=f"{LAMBDA}recorder", timeout_seconds=60),
)
INDEX = states.index_image(TASKS, layers_at_a_time=4, timeout_seconds=3600)
REINDEX = states.reindex_repositories(TASKS, layers_at_a_time=4, images_at_a_time=6, timeout_seconds=7200)

each_machine = pytest.mark.parametrize("machine", [INDEX, REINDEX], ids=["index", "reindex"])


def tasks_of(machine):
    return [state for _, state in all_states(machine) if state["Type"] == "Task"]


def without_marks(chain):
    """A chain as text, without the suffixes that make its names unique."""
    return json.dumps(chain).replace(" of a page", "").replace(" again", "")


@each_machine
def test_a_validator_of_the_language_accepts_the_definition(machine, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(machine))

    result = subprocess.run(
        [ROOT / "node_modules/.bin/asl-validator", "--json-path", path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr


@each_machine
def test_names_are_unique_in_a_whole_machine_and_short_enough(machine):
    names = [name for name, _ in all_states(machine)]

    assert len(names) == len(set(names))
    assert max(map(len, names)) <= 80


@each_machine
def test_the_time_limit_of_a_task_lies_between_those_of_its_function_and_its_machine(machine):
    functions = [
        TASKS.image_filter,
        TASKS.index_layer,
        TASKS.publish_index,
        TASKS.image_lister,
        TASKS.outcome_recorder,
    ]
    timeouts = {function.function_arn: function.timeout_seconds for function in functions}

    for task in tasks_of(machine):
        runs_for = timeouts[task["Parameters"]["FunctionName"]]
        assert runs_for < task["TimeoutSeconds"] < machine["TimeoutSeconds"]


def test_the_retried_errors_are_those_marked_as_retryable():
    assert states.retryable_errors() == ["EventBusUnavailable", "RegistryUnavailable", "Throttled"]
    assert errors.Throttled.retryable
    assert errors.RegistryUnavailable.retryable


@each_machine
def test_every_task_retries_these_and_lambdas_own_failures_with_jitter(machine):
    for task in tasks_of(machine):
        retried = {name for retry in task["Retry"] for name in retry["ErrorEquals"]}
        assert retried == {
            "EventBusUnavailable",
            "RegistryUnavailable",
            "Throttled",
            "Lambda.TooManyRequestsException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ResourceNotReadyException",
            "Lambda.EC2ThrottledException",
            "Lambda.EC2UnexpectedException",
        } | (set() if is_a_layers(task) else {*states.LOST_CALLS})
        for retry in task["Retry"]:
            assert retry["JitterStrategy"] == "FULL"
            assert retry["BackoffRate"] > 1
            assert retry["MaxDelaySeconds"] <= 180


def is_a_layers(task):
    return task["Parameters"]["FunctionName"] == TASKS.index_layer.function_arn


@each_machine
def test_a_throttled_call_is_retried_for_more_than_an_hour(machine):
    for task in tasks_of(machine):
        (retry,) = [one for one in task["Retry"] if one["ErrorEquals"] == [states.LAMBDA_BUSY]]
        longest = [
            min(retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt, retry["MaxDelaySeconds"])
            for attempt in range(retry["MaxAttempts"])
        ]
        assert sum(longest) / 2 >= 3_600, "full jitter waits half of it on the average"


@each_machine
def test_a_lost_call_is_repeated_once_except_for_a_large_layer(machine):
    for task in tasks_of(machine):
        attempts = [one["MaxAttempts"] for one in task["Retry"] if "Sandbox.Timedout" in one["ErrorEquals"]]
        assert attempts == ([] if is_a_layers(task) else [1])


def test_a_failure_of_indexing_fails_the_execution_where_it_happens():
    assert not [name for name, state in all_states(INDEX) if "Catch" in state]


def test_a_layer_is_indexed_with_the_request_of_its_image():
    maps = [state for machine in (INDEX, REINDEX) for name, state in all_states(machine) if "layers" in name]

    assert [state["ItemSelector"]["force.$"] for state in maps] == ["$.force"] * 3


def test_layers_are_indexed_side_by_side_up_to_the_limit():
    maps = [state for machine in (INDEX, REINDEX) for name, state in all_states(machine) if "layers" in name]

    assert [state["MaxConcurrency"] for state in maps] == [4, 4, 4]


def test_a_page_of_a_reindex_and_its_retry_run_the_chain_of_a_push():
    chain = {"StartAt": INDEX["StartAt"], "States": INDEX["States"]}
    branches = [state["Branches"] for _, state in all_states(REINDEX) if state["Type"] == "Parallel"]

    assert [without_marks(branch) for branch in branches] == [json.dumps([chain])] * 2


def test_a_page_and_its_retry_catch_every_failure():
    catching = [name for name, state in all_states(REINDEX) if "Catch" in state]

    assert catching == [
        "Index one image",
        "Record failure",
        "Index one image again",
        "Record failure again",
    ]


def test_no_image_that_fails_where_nothing_is_caught_fails_its_page():
    maps = [state for _, state in all_states(REINDEX) if "Label" in state]

    assert [state["ToleratedFailurePercentage"] for state in maps] == [100, 100]


@each_machine
def test_every_path_through_the_chain_ends_by_recording_the_outcome(machine):
    recorders = {
        name: state
        for name, state in all_states(machine)
        if state.get("Parameters", {}).get("FunctionName") == TASKS.outcome_recorder.function_arn
    }
    chains = (
        [machine]
        if "Filter" in machine["States"]
        else [branch for _, state in all_states(machine) for branch in state.get("Branches", [])]
    )

    for chain in chains:
        ends = [
            name for name, state in chain["States"].items() if "Next" not in state and "Choices" not in state
        ]
        assert len(ends) == 1
        assert recorders.keys() >= {*ends}
    for state in recorders.values():
        assert state["ResultPath"] is None, "what is recorded is passed on as it is"
        assert "OutputPath" not in state


def test_items_of_a_reindex_are_executions_of_their_own_and_bounded():
    maps = {name: state for name, state in all_states(REINDEX) if state["Type"] == "Map" and "Label" in state}

    assert list(maps) == ["Index images", "Retry failed"]
    for state in maps.values():
        assert state["ItemProcessor"]["ProcessorConfig"] == {
            "Mode": "DISTRIBUTED",
            "ExecutionType": "STANDARD",
        }
        assert state["MaxConcurrency"] == 6
        assert state["Label"] in states.MAP_LABELS


def test_a_reindex_keeps_only_the_counted_fields_of_an_image():
    outcomes = [state["Parameters"] for name, state in all_states(REINDEX) if name.startswith("Outcome")]

    assert outcomes == [{f"{field}.$": f"$.{field}" for field in OUTCOME_FIELDS}] * 2


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_other_partitions_have_arns_of_their_own(partition):
    task = Task(function_arn="f", timeout_seconds=1)
    tasks = Tasks(
        partition=partition,
        image_filter=task,
        index_layer=task,
        publish_index=task,
        image_lister=task,
        outcome_recorder=task,
    )
    text = json.dumps(states.index_image(tasks, layers_at_a_time=1, timeout_seconds=1))

    assert "arn:aws:" not in text
    assert f"arn:{partition}:states:::lambda:invoke" in text
