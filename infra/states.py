"""The state machines as documents in the Amazon States Language: plain values, without the CDK.

    IndexImage
        Filter ─> Index it? ─ index ─> Index layers (a map, one layer each) ─> Publish ─> Record
                            ├ tag ───────────────────────────────────────────> Publish ─> Record
                            └ skip ────────────────────────────────────────────────────> Record
    ReindexRepositories
        Begin ─> List images ─> What next? ─ a page ─> Index images (a distributed map) ─> List images
                                           ├ done, some failed ─> Retry failed (likewise) ─> List images
                                           ├ done, some failed twice ─> Images failed: the execution fails here; it is
                                           │                            redriven ─> What next? ─> Retry failed
                                           └ done ─> Summary

One function builds the chain of IndexImage; each item of both distributed maps runs the same chain. State names must be
unique in a machine, so the chains of the maps add a suffix. Record publishes the outcome of the image and passes its
input on unchanged.

Retries cover the errors that are `retryable` in `soci.errors`, and the failures of Lambda itself. Every other error
fails the state at once; a redrive starts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.config import TASK_MARGIN_SECONDS
from soci.errors import SociError

State = dict[str, object]
States = dict[str, State]

LAMBDA_FAILURES = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ResourceNotReadyException",
    "Lambda.EC2ThrottledException",
    "Lambda.EC2UnexpectedException",
)
LOST_CALLS = ("Sandbox.Timedout", "Runtime.ExitError", "Lambda.Unknown", "States.Timeout")
"""The function hung or died. The next call gets a new process."""
LAMBDA_BUSY = "Lambda.TooManyRequestsException"
OUTCOME_FIELDS = ("outcome", "reason", "repository", "tag", "digest")
"""Top-level fields of every output. A re-index keeps only these of an image."""

MAP_LABELS = ("images", "failed")
"""The labels of the distributed maps. They are part of the ARNs of their items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A function that a state invokes."""

    function_arn: str
    timeout_seconds: int
    """The timeout of the function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The functions that the machines invoke, and the AWS partition for the ARNs of service integrations."""

    partition: str
    image_filter: Task
    index_layer: Task
    publish_index: Task
    image_lister: Task
    outcome_recorder: Task


def index_image(tasks: Tasks, *, layers_at_a_time: int, timeout_seconds: int) -> State:
    """Return the machine that indexes one image. Its input is an event of the registry or a request."""
    return {
        "Comment": "Indexes one image. Input by hand: "
        '{"repository": "app", "tag": "1.4"} or {"repository": "app", "digest": "sha256:..."}; '
        '"force": true indexes an indexed image again and reads every layer.',
        "TimeoutSeconds": timeout_seconds,
        **_chain(tasks, layers_at_a_time=layers_at_a_time),
    }


def reindex_repositories(
    tasks: Tasks, *, layers_at_a_time: int, images_at_a_time: int, timeout_seconds: int
) -> State:
    """Return the machine that indexes the images that repositories already hold, page by page."""
    every_image = _chain(tasks, layers_at_a_time=layers_at_a_time, mark=" of a page")
    failed_image = _chain(tasks, layers_at_a_time=layers_at_a_time, mark=" again")
    begin: State = {"request.$": "$", "cursor": None, "summary": {}, "failed": [], "results": []}
    failed_twice: State = {f"{name}.$": f"$.{name}" for name in ("request", "cursor", "summary", "failed")}
    failed_twice["execution.$"] = "$$.Execution"
    states: States = {
        "Begin": {"Type": "Pass", "Parameters": begin, "Next": "List images"},
        "List images": _invoke(tasks, tasks.image_lister, then="What next?"),
        "What next?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.images[0]", "IsPresent": True, "Next": "Index images"},
                _done_with_failures(then="Retry failed", is_retry=True),
                _done_with_failures(then="Images failed", is_retry=False),
                {"Variable": "$.done", "BooleanEquals": True, "Next": "Summary"},
            ],
            "Default": "List images",
        },
        "Index images": _map_of_images(
            "images", _one_image(every_image, tasks), images_at_a_time, then="List images"
        ),
        "Retry failed": _map_of_images(
            "failed", _one_image(failed_image, tasks, mark=" again"), images_at_a_time, then="List images"
        ),
        "Images failed": _invoke(tasks, tasks.image_lister, payload=failed_twice, then="What next?"),
        "Summary": {"Type": "Pass", "InputPath": "$.summary", "End": True},
    }
    return {
        "Comment": 'Indexes the images of repositories. Input: {"repositories": ["team/*"]}, optional: "tags": ["v*"], '
        '"pushed_since": "2026-01-31", "only_missing": true, "force": false.',
        "TimeoutSeconds": timeout_seconds,
        "StartAt": "Begin",
        "States": states,
    }


def _done_with_failures(*, then: str, is_retry: bool) -> State:
    return {
        "And": [
            {"Variable": "$.done", "BooleanEquals": True},
            {"Variable": "$.failed[0]", "IsPresent": True},
            {"Variable": "$.cursor.is_retry", "BooleanEquals": is_retry},
        ],
        "Next": then,
    }


def retryable_errors() -> list[str]:
    """Return the names of the retryable error classes, as Lambda reports them."""
    return sorted(kind.__name__ for kind in _descendants(SociError) if kind.retryable)


def _descendants(kind: type[SociError]) -> Iterator[type[SociError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _descendants(below)


def _chain(tasks: Tasks, *, layers_at_a_time: int, mark: str = "") -> State:
    """Return the states from a request to its outcome. The output has OUTCOME_FIELDS at the top level."""
    layers, publish, record = f"Index layers{mark}", f"Publish{mark}", f"Record{mark}"
    asked: State = {"request.$": "$", "execution.$": "$$.Execution.Name"}
    states: States = {
        f"Filter{mark}": _invoke(tasks, tasks.image_filter, payload=asked, then=f"Index it?{mark}"),
        f"Index it?{mark}": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.action", "StringEquals": action, "Next": target}
                for action, target in (("index", layers), ("tag", publish), ("skip", record))
            ],  # no default: an unknown action fails
        },
        layers: {
            "Type": "Map",
            "ItemsPath": "$.layers",
            "ItemSelector": {
                "image": {"repository.$": "$.repository", "digest.$": "$.digest"},
                "layer.$": "$$.Map.Item.Value",
                "force.$": "$.force",
                "correlation_id.$": "$.correlation_id",
            },
            "MaxConcurrency": layers_at_a_time,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": f"Index layer{mark}",
                "States": {f"Index layer{mark}": _invoke(tasks, tasks.index_layer)},
            },
            "ResultPath": "$.layers",
            "Next": publish,
        },
        publish: _invoke(tasks, tasks.publish_index, then=record),
        record: _record(tasks, {"result.$": "$"}),
    }
    return {"StartAt": f"Filter{mark}", "States": states}


def _record(tasks: Tasks, what: State, *, then: str | None = None) -> State:
    """Return the state that records an outcome. It passes its input on."""
    execution: State = {
        "id.$": "$$.Execution.Id",
        "started_at.$": "$$.Execution.StartTime",
        "ended_at.$": "$$.State.EnteredTime",
    }
    state = _invoke(tasks, tasks.outcome_recorder, payload={**what, "execution": execution}, then=then)
    del state["OutputPath"]
    return {**state, "ResultPath": None}


def _invoke(tasks: Tasks, task: Task, *, payload: State | None = None, then: str | None = None) -> State:
    """Return a state that invokes a function with the state or a payload. The answer becomes the state."""
    sent: State = {"Payload": payload} if payload else {"Payload.$": "$"}
    return {
        "Type": "Task",
        "Resource": f"arn:{tasks.partition}:states:::lambda:invoke",
        "Parameters": {"FunctionName": task.function_arn, **sent},
        "OutputPath": "$.Payload",
        "TimeoutSeconds": task.timeout_seconds + TASK_MARGIN_SECONDS,
        "Retry": [
            # After a burst of pushes, calls may wait more than an hour for the account's concurrency.
            _retry([LAMBDA_BUSY], first_wait_seconds=5, attempts=60, longest_wait_seconds=180),
            _retry(LAMBDA_FAILURES, first_wait_seconds=2, attempts=6, longest_wait_seconds=60),
            _retry(retryable_errors(), first_wait_seconds=5, attempts=6, longest_wait_seconds=180),
            # A layer that used up its time or memory would do so again. For other functions a second try may help.
            *(
                [_retry(LOST_CALLS, first_wait_seconds=5, attempts=1, longest_wait_seconds=60)]
                if task != tasks.index_layer
                else []
            ),
        ],
        **({"Next": then} if then else {"End": True}),
    }


def _retry(
    errors: list[str] | tuple[str, ...], *, first_wait_seconds: int, attempts: int, longest_wait_seconds: int
) -> State:
    return {
        "ErrorEquals": list(errors),
        "IntervalSeconds": first_wait_seconds,
        "MaxAttempts": attempts,
        "BackoffRate": 2,
        "MaxDelaySeconds": longest_wait_seconds,
        "JitterStrategy": "FULL",
    }


def _map_of_images(items: str, item_states: States, images_at_a_time: int, *, then: str) -> State:
    """Return a distributed map: each item is an execution with its own history and size limit."""
    return {
        "Type": "Map",
        "Label": items,
        "ItemsPath": f"$.{items}",
        "ItemSelector": {"request.$": "$$.Map.Item.Value"},
        "MaxConcurrency": images_at_a_time,
        "ToleratedFailurePercentage": 100,  # an uncaught failure leaves no result, which the lister counts
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": next(iter(item_states)),
            "States": item_states,
        },
        "ResultPath": "$.results",
        "Next": then,
    }


def _one_image(chain: State, tasks: Tasks, *, mark: str = "") -> States:
    """Return the states of a map's item: the chain, then a state that shortens its outcome.

    A failure is recorded and becomes an outcome, so that the other images continue, even if recording fails. The cause
    stays in the history of the item's execution, since its length has no limit.
    """
    outcome, record, failure, failed = (
        f"{name}{mark}" for name in ("Outcome", "Record failure", "Failure", "Failed")
    )
    return {
        f"Index one image{mark}": {
            "Type": "Parallel",  # with one branch: the only state that can catch errors of several others
            "InputPath": "$.request",
            "Branches": [chain],
            "OutputPath": "$[0]",
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": record}],
            "Next": outcome,
        },
        outcome: {
            "Type": "Pass",
            "Parameters": {f"{field}.$": f"$.{field}" for field in OUTCOME_FIELDS},
            "End": True,
        },
        record: {
            **_record(tasks, {"request.$": "$.request", "error.$": "$.error"}, then=failure),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": failure}],
        },
        failure: {
            "Type": "Pass",
            "Parameters": {
                "outcome": "failed",
                "reason.$": "$.error.Error",
                "detail.$": "States.Format('The cause stands in the execution {}', $$.Execution.Id)",
            },
            "ResultPath": "$.failure",
            "Next": failed,
        },
        failed: {
            "Type": "Pass",
            "Parameters": {"item.$": "States.JsonMerge($.request, $.failure, false)"},
            "OutputPath": "$.item",
            "End": True,
        },
    }
