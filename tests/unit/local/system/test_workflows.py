"""What the interpreter does with definitions like ours; the functions behind the states are a table of this file."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from local.system.functions import Answer
from local.system.record import Status
from local.system.workflows import Execution, Workflows

Handler = Callable[[Any], Any]


class Failure(Exception):
    """What a handler raises to fail with an error of this name."""


class Handlers:
    """Functions by name; counts what they are called with."""

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = handlers
        self.calls: Counter[str] = Counter()
        self.payloads: list[tuple[str, Any]] = []
        self.events: list[Any] = []
        self._lock = threading.Lock()

    def invoke(self, function: str, payload: bytes) -> Answer:
        name, document = function.rpartition(":")[2], json.loads(payload)
        with self._lock:
            self.calls[name] += 1
            self.payloads.append((name, document))
        try:
            return Answer(payload=json.dumps(self.handlers[name](document)).encode())
        except Failure as failure:
            error = {"errorType": str(failure), "errorMessage": "it did"}
            return Answer(payload=json.dumps(error).encode(), function_error="Unhandled")

    def put_events(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.events += entries


def task(function: str, then: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {
            "FunctionName": f"arn:aws:lambda:eu-central-1:1:function:{function}",
            "Payload.$": "$",
        },
        "OutputPath": "$.Payload",
        **({"Next": then} if then else {"End": True}),
        **fields,
    }


def map_of(states: dict[str, Any], mode: str = "INLINE", **fields: Any) -> dict[str, Any]:
    execution_type = {} if mode == "INLINE" else {"ExecutionType": "STANDARD"}
    return {
        "Type": "Map",
        "ItemsPath": "$.items",
        "MaxConcurrency": 2,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": mode, **execution_type},
            "StartAt": next(iter(states)),
            "States": states,
        },
        "ResultPath": "$.results",
        "End": True,
        **fields,
    }


def run(handlers: Handlers, states: dict[str, Any], input_: Any = None, **options: Any) -> Execution:
    return started(handlers, states, input_, **options)[1]


def started(
    handlers: Handlers, states: dict[str, Any], input_: Any = None, time_scale: float = 0.001
) -> tuple[Workflows, Execution]:
    definition = {"StartAt": next(iter(states)), "States": states}
    workflows = Workflows({"Machine": definition}, handlers, time_scale=time_scale)
    return workflows, workflows.start("Machine", {} if input_ is None else input_).wait(20)


def failing(*names: str) -> Handler:
    """Fail with these errors, one after the other, then answer with what was given."""
    waiting = list(names)

    def handler(document: Any) -> Any:
        if waiting:
            raise Failure(waiting.pop(0))
        return document

    return handler


def test_an_execution_ends_with_the_last_answer_and_a_record_of_its_states():
    handlers = Handlers(one=lambda given: {"from_one": given}, two=lambda given: {"from_two": given})

    execution = run(handlers, {"One": task("one", "Two"), "Two": task("two")}, {"a": 1})

    assert execution.status is Status.SUCCEEDED
    assert execution.output == {"from_two": {"from_one": {"a": 1}}}
    assert execution.run.states() == ["One", "Two"]
    assert execution.run.visits[1].input == {"from_one": {"a": 1}}


def test_an_error_that_the_retry_names_is_tried_again_with_scaled_waits():
    handlers = Handlers(one=failing("Throttled", "Throttled"))
    retry = [{"ErrorEquals": ["Throttled"], "IntervalSeconds": 60, "MaxAttempts": 3, "BackoffRate": 2}]
    started_at = time.monotonic()

    execution = run(handlers, {"One": task("one", Retry=retry)}, {"a": 1})

    assert execution.output == {"a": 1}
    assert handlers.calls["one"] == execution.run.calls() == 3
    assert 0.18 <= time.monotonic() - started_at < 10, "60 and 120 seconds, a thousandth of them"


def test_an_error_that_no_retry_names_fails_the_execution_with_its_name():
    handlers = Handlers(one=failing("DigestMismatch"))
    retry = [{"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 3}]

    execution = run(handlers, {"One": task("one", Retry=retry)})

    assert (execution.status, execution.run.error) == (Status.FAILED, "DigestMismatch")
    assert json.loads(execution.run.cause or "")["errorMessage"] == "it did"
    assert handlers.calls["one"] == 1


def test_the_items_of_a_map_run_in_parallel_and_return_results_in_order():
    together = threading.Barrier(2, timeout=10)

    def one(document: Any) -> Any:
        together.wait()
        return document * 10

    execution = run(Handlers(one=one), {"M": map_of({"One": task("one")})}, {"items": [1, 2, 3, 4]})

    assert execution.output["results"] == [10, 20, 30, 40]


def test_an_item_that_fails_fails_an_inline_map_in_place():
    handlers = Handlers(one=lambda document: document if document < 3 else failing("Damaged")(document))

    execution = run(handlers, {"M": map_of({"One": task("one")}, MaxConcurrency=1)}, {"items": [1, 2, 3, 4]})

    assert execution.run.error == "Damaged"
    assert handlers.calls["one"] == 3


def test_a_redrive_repeats_only_failed_items_from_their_failed_state():
    broken = {3}

    def check(document: Any) -> Any:
        return document

    def index(document: Any) -> Any:
        if document in broken:
            raise Failure("Damaged")
        return document * 10

    handlers = Handlers(check=check, index=index, begin=lambda document: document)
    states = {
        "Begin": task("begin", "M"),
        "M": map_of(
            {"Check": task("check", "Index"), "Index": task("index")}, "DISTRIBUTED", MaxConcurrency=1
        ),
    }
    workflows, execution = started(handlers, states, {"items": [1, 2, 3, 4]})
    assert execution.run.error == "States.ExceedToleratedFailureThreshold"
    assert handlers.calls == {"begin": 1, "check": 3, "index": 3}, "no item begins after one has failed"

    workflows.redrive(execution).wait(20)
    assert execution.run.error == "States.ExceedToleratedFailureThreshold"
    assert handlers.calls == {"begin": 1, "check": 3, "index": 4}
    broken.clear()
    workflows.redrive(execution).wait(20)

    assert execution.status is Status.SUCCEEDED
    assert execution.output["results"] == [10, 20, 30, 40]
    assert handlers.calls == {"begin": 1, "check": 4, "index": 6}
    assert len(workflows.executions()) == 1
    assert [len(attempt.visits) for attempt in execution.attempts] == [2, 1, 1]


def test_a_redrive_does_not_repeat_a_successful_branch():
    handlers = Handlers(good=lambda _: "good", bad=failing("Damaged"))
    parallel = {
        "Type": "Parallel",
        "Branches": [
            {"StartAt": name, "States": {name: task(function)}}
            for name, function in (("Good", "good"), ("Bad", "bad"))
        ],
        "End": True,
    }
    handlers.handlers["bad"] = failing_after(handlers, "good", "Damaged")
    workflows, execution = started(handlers, {"Both": parallel}, "given")
    assert execution.run.error == "Damaged"

    workflows.redrive(execution).wait(20)

    assert execution.output == ["good", "given"]
    assert handlers.calls == {"good": 1, "bad": 2}


def failing_after(handlers: Handlers, other: str, name: str) -> Handler:
    """Fail once, but not before the other function has long answered."""
    fail = failing(name)

    def handler(document: Any) -> Any:
        while not handlers.calls[other]:
            time.sleep(0.01)
        time.sleep(0.2)
        return fail(document)

    return handler


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ({}, Status.FAILED),
        ({"ToleratedFailureCount": 1}, Status.FAILED),
        ({"ToleratedFailureCount": 2}, Status.SUCCEEDED),
        ({"ToleratedFailurePercentage": 49}, Status.FAILED),
        ({"ToleratedFailurePercentage": 50}, Status.SUCCEEDED),
    ],
    ids=["none", "one", "two", "49 %", "50 %"],
)
def test_a_distributed_map_fails_when_more_items_fail_than_it_tolerates(tolerance, status):
    handlers = Handlers(one=lambda document: document if document > 2 else failing("Damaged")(document))

    execution = run(
        handlers, {"M": map_of({"One": task("one")}, "DISTRIBUTED", **tolerance)}, {"items": [1, 2, 3, 4]}
    )

    assert execution.status is status
    if status is Status.SUCCEEDED:
        assert execution.output["results"] == [3, 4]


def test_a_running_or_successful_execution_cannot_be_redriven():
    workflows, execution = started(Handlers(one=lambda document: document), {"One": task("one")})

    with pytest.raises(ValueError, match="SUCCEEDED"):
        workflows.redrive(execution)


def test_an_answer_over_the_limit_of_a_state_fails_the_execution():
    handlers = Handlers(one=lambda _: "x" * (256 << 10))

    execution = run(handlers, {"One": task("one")})

    assert execution.run.error == "States.DataLimitExceeded"


def test_events_put_by_a_state_reach_the_system():
    handlers = Handlers()
    entry = {"Source": "soci", "DetailType": "SOCI Index Created", "Detail.$": "$", "EventBusName": "default"}
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::events:putEvents",
        "Parameters": {"Entries": [entry]},
        "End": True,
    }

    execution = run(handlers, {"Tell": put}, {"a": 1})

    assert execution.status is Status.SUCCEEDED
    assert [(event["DetailType"], json.loads(event["Detail"])) for event in handlers.events] == [
        ("SOCI Index Created", {"a": 1})
    ]


def test_a_missing_service_fails_the_execution_and_is_named():
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": "arn:aws:sns:eu-central-1:123456789012:t", "Message": "x"},
        "End": True,
    }

    execution = run(Handlers(), {"Tell": put})

    assert execution.status is Status.FAILED
