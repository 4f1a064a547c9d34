from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

import pytest

from infra import states
from infra.states import Task, Tasks
from local.system.functions import Answer
from local.system.record import Status
from local.system.workflows import Workflows
from soci.service.filter.requests import parse_request

LAMBDA = "arn:aws:lambda:eu-central-1:123456789012:function:"
TASKS = Tasks(
    partition="aws",
    image_filter=Task(function_arn=f"{LAMBDA}image_filter", timeout_seconds=60),
    index_layer=Task(function_arn=f"{LAMBDA}index_layer", timeout_seconds=60),
    publish_index=Task(function_arn=f"{LAMBDA}publish_index", timeout_seconds=60),
    image_lister=Task(function_arn=f"{LAMBDA}image_lister", timeout_seconds=60),
    outcome_recorder=Task(function_arn=f"{LAMBDA}outcome_recorder", timeout_seconds=60),
)
DEFINITIONS = {
    "IndexImage": states.index_image(TASKS, layers_at_a_time=2, timeout_seconds=600),
    "ReindexRepositories": states.reindex_repositories(
        TASKS, layers_at_a_time=2, images_at_a_time=2, timeout_seconds=600
    ),
}


class FunctionFailed(Exception):
    """An error of a function, by the name that Lambda reports."""


class Account:
    """Functions that behave as over a registry with few images, and the workflows that call them.

    The name of a repository says what is in it; `failures` how often an image fails, and by which error.
    """

    def __init__(self, *pages, **failures):
        self.pages = pages
        self.failures = dict(failures)
        self.calls = []
        self.recorded = []
        self.fails_to_record = False
        self.workflows = Workflows(DEFINITIONS, self, time_scale=0)

    def invoke(self, function, payload):
        name = function.rpartition(":")[2]
        document = json.loads(payload)
        self.calls.append((name, document))
        try:
            return Answer(payload=json.dumps(getattr(self, name)(document)).encode())
        except FunctionFailed as failed:
            error = {"errorType": str(failed), "errorMessage": "for a reason", "stackTrace": []}
            return Answer(payload=json.dumps(error).encode(), function_error="Unhandled")

    def put_events(self, entries):
        raise AssertionError(entries)

    def run(self, machine, input_):
        return self.workflows.start(machine, input_).wait(60)

    def image_filter(self, document):
        request = parse_request(document["request"], document["execution"])
        remaining, error = self.failures.get(request.repository, (0, ""))
        if remaining:
            self.failures[request.repository] = (remaining - 1, error)
            raise FunctionFailed(error)
        action = {"small": "tag", "own": "skip"}.get(request.repository, "index")
        layers = [{"digest": f"layer-{number}"} for number in range(3)] if action == "index" else []
        return {
            **request.to_document(),
            "action": action,
            "outcome": "skipped" if action == "skip" else None,
            "reason": None if action == "index" else "a-reason",
            "digest": "sha256:root",
            "layers": layers,
            "platforms": [{"layers": [0, 2, 1]}],
        }

    def index_layer(self, document):
        return {
            "layer": document["layer"]["digest"],
            "of": document["image"],
            "for": document["correlation_id"],
        }

    def publish_index(self, document):
        outcome = "tagged" if document["action"] == "tag" else "indexed"
        return {**document, "outcome": outcome}

    def outcome_recorder(self, document):
        self.recorded.append(document)
        if self.fails_to_record:
            raise FunctionFailed("EventRefused")
        return {"told": "something"}

    def image_lister(self, document):
        cursor = document["cursor"] or {"page": 0, "is_retry": False, "redrives": 0}
        if "execution" in document:
            redrives = document["execution"]["RedriveCount"]
            if redrives <= cursor["redrives"]:
                raise FunctionFailed("ImagesFailed")
            document.pop("execution")
            cursor = {**cursor, "is_retry": True, "redrives": redrives}
            return {**document, "cursor": cursor, "results": [], "images": [], "done": True}
        page, is_retry = cursor["page"], cursor["is_retry"]
        kept = [] if is_retry else document["failed"]
        counts = Counter(document["summary"]) + Counter(one["outcome"] for one in document["results"])
        failed = [
            {name: one[name] for name in ("repository", "tag", "force", "reason")}
            for one in document["results"]
            if one["outcome"] == "failed"
        ]
        images = self.pages[page] if page < len(self.pages) else []
        is_over = page >= len(self.pages)
        is_retry = is_over and bool(kept + failed) and not is_retry
        return {
            "request": document["request"],
            "cursor": {**cursor, "page": page + 1, "is_retry": is_retry},
            "summary": counts,
            "failed": kept + failed,
            "results": [],
            "images": images,
            "done": is_over,
        }


def image(repository, tag="1.4"):
    return {"repository": repository, "tag": tag, "force": False}


def test_an_image_goes_through_filter_layers_and_publication():
    account = Account()

    execution = account.run("IndexImage", {"repository": "app", "tag": "1.4"})

    assert [name for name, _ in account.calls] == [
        "image_filter",
        *["index_layer"] * 3,
        "publish_index",
        "outcome_recorder",
    ]
    assert execution.output["outcome"] == "indexed"
    assert execution.output["layers"] == [
        {
            "layer": f"layer-{number}",
            "of": {"repository": "app", "digest": "sha256:root"},
            "for": execution.name,
        }
        for number in range(3)
    ]


@pytest.mark.parametrize(
    ("repository", "called", "outcome"),
    [
        ("small", ["image_filter", "publish_index", "outcome_recorder"], "tagged"),
        ("own", ["image_filter", "outcome_recorder"], "skipped"),
    ],
)
def test_an_image_with_nothing_to_index_calls_no_more_than_needed(repository, called, outcome):
    account = Account()

    execution = account.run("IndexImage", {"repository": repository, "tag": "1.4"})

    assert [name for name, _ in account.calls] == called
    assert execution.output["outcome"] == outcome


@pytest.mark.parametrize("error", ["Throttled", "RegistryUnavailable", "Lambda.TooManyRequestsException"])
def test_a_transient_error_is_retried(error):
    account = Account(app=(2, error))

    execution = account.run("IndexImage", image("app"))

    assert execution.output["outcome"] == "indexed"
    assert [name for name, _ in account.calls].count("image_filter") == 3


@pytest.mark.parametrize("error", ["GzipError", "Unauthorized", "Runtime.OutOfMemory"])
def test_any_other_error_fails_the_execution_at_once_by_its_name(error):
    account = Account(app=(99, error))

    execution = account.run("IndexImage", image("app"))

    assert (execution.status, execution.run.error) == (Status.FAILED, error)
    assert len(account.calls) == 1


def test_a_function_that_hung_is_called_once_more():
    account = Account(app=(1, "Sandbox.Timedout"), other=(2, "Sandbox.Timedout"))

    execution = account.run("IndexImage", image("app"))
    other = account.run("IndexImage", image("other"))

    assert execution.output["outcome"] == "indexed"
    assert (other.status, other.run.error) == (Status.FAILED, "Sandbox.Timedout")


def test_a_reindex_counts_the_outcomes_of_all_pages():
    account = Account([image("app"), image("small")], [], [image("own")])

    execution = account.run("ReindexRepositories", {"repositories": ["*"]})

    assert execution.output == {"indexed": 1, "tagged": 1, "skipped": 1}
    assert account.calls[0] == (
        "image_lister",
        {"request": {"repositories": ["*"]}, "cursor": None, "summary": {}, "failed": [], "results": []},
    )


def test_a_reindex_hands_the_lister_only_what_is_counted():
    account = Account([image("app")])

    account.run("ReindexRepositories", {"repositories": ["app"]})

    results = [document["results"] for name, document in account.calls if name == "image_lister"]
    assert results == [
        [],
        [
            {
                "outcome": "indexed",
                "reason": None,
                "repository": "app",
                "tag": "1.4",
                "digest": "sha256:root",
            }
        ],
    ]


def test_a_failed_image_does_not_stop_the_others_and_is_tried_again_at_the_end():
    account = Account([image("bad"), image("app")], [image("own")], bad=(1, "GzipError"))

    execution = account.run("ReindexRepositories", {"repositories": ["*"]})

    assert execution.status is Status.SUCCEEDED
    assert execution.output == {"failed": 1, "indexed": 2, "skipped": 1}
    filtered = [
        document["request"]["repository"] for name, document in account.calls if name == "image_filter"
    ]
    assert sorted(filtered[:3]) == ["app", "bad", "own"]
    assert filtered[3:] == ["bad"]


def test_an_image_that_fails_again_fails_the_reindex_and_a_redrive_resumes_there():
    account = Account([image("bad"), image("app")], bad=(2, "GzipError"))

    execution = account.run("ReindexRepositories", {"repositories": ["*"]})
    calls_before = len(account.calls)
    redriven = account.workflows.redrive(execution).wait(60)

    assert [run.status for run in redriven.attempts] == [Status.FAILED, Status.SUCCEEDED]
    again = [name for name, _ in account.calls[calls_before:]]
    assert again == [
        "image_lister",
        "image_filter",
        *["index_layer"] * 3,
        "publish_index",
        "outcome_recorder",
        "image_lister",
    ]


def test_many_lasting_failures_do_not_keep_other_images_from_their_retry():
    lasting = {f"bad-{number}": (99, "GzipError") for number in range(5)}
    account = Account(
        [image(name) for name in (*lasting, "slow-1", "slow-2")],
        **lasting,
        **{"slow-1": (1, "GzipError"), "slow-2": (3, "GzipError")},
    )

    execution = account.run("ReindexRepositories", {"repositories": ["*"]})

    assert (execution.status, execution.run.error) == (Status.FAILED, "ImagesFailed")
    tries = Counter(
        document["request"]["repository"] for name, document in account.calls if name == "image_filter"
    )
    assert set(tries.values()) == {2}
    again = account.workflows.redrive(execution).wait(60)
    assert (again.status, again.run.states()[-1]) == (Status.FAILED, "Images failed")
    again = account.workflows.redrive(execution).wait(60)
    assert again.status is Status.FAILED
    assert again.run.visits[0].input["failed"][-1]["repository"] == "slow-2"
    published = [document["repository"] for name, document in account.calls if name == "publish_index"]
    assert sorted(published) == ["slow-1", "slow-2"]


def test_the_record_of_a_failed_image_is_short_and_can_be_sent_as_a_request():
    account = Account([image("bad")], bad=(1, "GzipError"))

    account.run("ReindexRepositories", {"repositories": ["*"]})

    (result,) = next(document["results"] for _, document in account.calls if document.get("results"))
    detail = result.pop("detail")
    assert result == {**image("bad"), "outcome": "failed", "reason": "GzipError"}
    assert "for a reason" not in detail  # the cause has no bound; the item's own execution keeps it
    assert parse_request(result).repository == "bad"


def test_the_record_holds_the_output_and_the_execution():
    account = Account()

    execution = account.run("IndexImage", image("app"))

    (told,) = account.recorded
    assert told["result"] == execution.output
    assert told["execution"]["id"].endswith(f":{execution.name}")
    started, ended = (datetime.fromisoformat(told["execution"][name]) for name in ("started_at", "ended_at"))
    assert started <= ended


def test_every_image_of_a_reindex_is_recorded_the_failed_one_with_its_error():
    account = Account([image("bad"), image("app")], bad=(2, "GzipError"))

    account.run("ReindexRepositories", {"repositories": ["*"]})

    failures = [one for one in account.recorded if "error" in one]
    (indexed,) = (one for one in account.recorded if "result" in one)
    assert indexed["result"]["outcome"] == "indexed"
    assert failures[0]["request"] == image("bad")
    assert [one["request"]["repository"] for one in failures] == ["bad", "bad"], "each time that it fails"
    for one in failures:
        assert one["error"]["Error"] == "GzipError"
        assert "for a reason" in one["error"]["Cause"]


def test_an_outcome_that_cannot_be_recorded_fails_the_execution_there_and_is_recorded_by_a_redrive():
    account = Account()
    account.fails_to_record = True

    execution = account.run("IndexImage", image("app"))
    calls_before = len(account.calls)
    account.fails_to_record = False
    redriven = account.workflows.redrive(execution).wait(60)

    assert [run.error for run in redriven.attempts] == ["EventRefused", None]
    assert [name for name, _ in account.calls[calls_before:]] == ["outcome_recorder"]


@pytest.mark.parametrize("tries", [2, 3], ids=["the retry", "a redrive"])
def test_a_failure_that_could_not_be_recorded_is_recorded_by_what_fails_next(tries):
    account = Account([image("bad")], bad=(99, "GzipError"))
    account.fails_to_record = True
    told = account.outcome_recorder

    def away_at_first(document):
        account.fails_to_record = len(account.recorded) < tries - 1
        return told(document)

    account.outcome_recorder = away_at_first  # type: ignore[method-assign]
    execution = account.run("ReindexRepositories", {"repositories": ["*"]})
    while len(account.recorded) < tries:
        account.workflows.redrive(execution).wait(60)

    assert not account.fails_to_record
    assert account.recorded[-1]["request"]["repository"] == "bad"
    assert account.recorded[-1]["error"]["Error"] == "GzipError"


def test_a_failure_that_cannot_be_recorded_is_counted_all_the_same():
    account = Account([image("bad")], bad=(1, "GzipError"))
    account.fails_to_record = True

    account.run("ReindexRepositories", {"repositories": ["*"]})

    results = [document.get("results") for name, document in account.calls if name == "image_lister"]
    assert [one["reason"] for one in results[1]] == ["GzipError"]
