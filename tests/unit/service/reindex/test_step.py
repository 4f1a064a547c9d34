"""The loop of a re-index, step by step, with the state sent through JSON as a workflow does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from soci.errors import ImagesFailed, InvalidDocument, InvalidRequest
from soci.service.filter.requests import parse_request
from soci.service.reindex import step as reindex
from soci.service.reindex.cursor import Cursor
from soci.service.reindex.listing import MAX_IMAGES, Page
from soci.service.reindex.step import next_step
from soci.service.reindex.summary import MAX_FAILED

REQUEST = {"repositories": ["app"]}
DIGEST = f"sha256:{'0' * 64}"
STATE_LIMIT_BYTES = 256 << 10


class Repository:
    """Images that are listed, so many at a time."""

    def __init__(self, count: int, *, per_page: int = MAX_IMAGES, name: str = "app") -> None:
        self.images = [{"repository": name, "tag": f"t{n:05}", "force": False} for n in range(count)]
        self.per_page = per_page
        self.calls = 0

    def fetch_page(self, _: Any, cursor: Cursor | None) -> Page:
        self.calls += 1
        start = 0 if cursor is None else int(cursor.page_token or 0)
        end = start + self.per_page
        following = Cursor(repository="app", page_token=str(end)) if end < len(self.images) else None
        return Page(images=tuple(self.images[start:end]), next_cursor=following)


def outcome(image: Any, text: str) -> dict[str, object]:
    """What the chain of states gives for an image: `skipped image-too-small`, or `failed SomeError`."""
    kind, _, reason = text.partition(" ")
    if kind == "failed":
        detail = {"detail": f"The cause stands in the execution {'arn':_<190}"}
        return {**image, **detail, "outcome": kind, "reason": reason}
    found = {"repository": image["repository"], "tag": image.get("tag"), "digest": DIGEST}
    return {**found, "outcome": kind, "reason": reason or None}


class Workflow:
    """The state machine around the steps: `index` tells what comes of an image."""

    def __init__(self, repository: Repository, index: Any, *, goes_on_after_retry: bool = True) -> None:
        self.repository = repository
        self.index = index
        self.goes_on_after_retry = goes_on_after_retry
        self.retried: list[Any] = []
        self.redrives = 0
        self.largest_bytes = 0

    def step(self, state: Any) -> Any:
        state = json.loads(json.dumps(next_step(state, self.repository.fetch_page)))
        self.largest_bytes = max(self.largest_bytes, len(json.dumps(state)))
        return state

    def run(self, request: Any = None) -> Any:
        """Run to the end; returns the summary."""
        state: Any = {
            "request": request or REQUEST,
            "cursor": None,
            "summary": {},
            "failed": [],
            "results": [],
        }
        while True:
            state = self.step(state)
            if state["images"]:
                state["results"] = self.outcomes(state["images"])
            elif state["done"] and state["failed"]:
                if not state["cursor"]["is_retry"]:
                    state = self.step({**state, "execution": {"RedriveCount": self.redrives}})
                self.retried += state["failed"]
                state["results"] = self.outcomes(state["failed"])
                if not self.goes_on_after_retry:
                    return self.step(state)["summary"]
            elif state["done"]:
                return state["summary"]
            self.largest_bytes = max(self.largest_bytes, len(json.dumps(state)))

    def outcomes(self, images: Sequence[Any]) -> list[Any]:
        return [outcome(image, self.index(image)) for image in images]


def by_turns(*texts: str) -> Any:
    """What comes of the first image, the second and so on, and again from the start."""
    turns = iter(lambda: texts, None)
    walk: Iterator[str] = (text for some in turns for text in some)
    return lambda _: next(walk)


def failing_once(*, every: int = 1) -> Any:
    """Every so manieth image fails the first time it is tried."""
    tried: set[str] = set()

    def index(image: Any) -> str:
        is_first = image["tag"] not in tried
        tried.add(image["tag"])
        fails = is_first and int(image["tag"][1:]) % every == 0
        return "failed RegistryUnavailable" if fails else "indexed"

    return index


def test_every_image_is_counted_by_outcome_and_reason():
    workflow = Workflow(
        Repository(250),
        by_turns("indexed", "skipped image-too-small", "tagged image-too-small", "skipped own-artifact"),
    )

    assert workflow.run() == {
        "images": 250,
        "outcomes": {"indexed": 63, "skipped": 125, "tagged": 62},
        "reasons": {"image-too-small": 125, "own-artifact": 62},
        "pages": 3,
        "stopped": None,
    }
    assert workflow.repository.calls == 3


def test_nothing_to_list_is_an_empty_summary():
    assert Workflow(Repository(0), by_turns("indexed")).run() == {
        "images": 0,
        "outcomes": {},
        "reasons": {},
        "pages": 0,
        "stopped": None,
    }


def test_failures_are_retried_once_at_the_end_and_counted_by_the_retry():
    workflow = Workflow(Repository(250), failing_once(every=50))

    summary = workflow.run()

    assert summary["outcomes"] == {"indexed": 250}
    assert summary["reasons"] == {}
    assert [one["tag"] for one in workflow.retried] == ["t00000", "t00050", "t00100", "t00150", "t00200"]


def test_a_failure_is_kept_as_a_request():
    images = [{"repository": "app", "tag": "1", "force": True}, {"repository": "app", "digest": DIGEST}]
    results = [outcome(image, "failed Throttled") for image in images]
    ended = {"place": None, "has_ended": True, "is_retry": False}

    answer = next_step({"request": REQUEST, "cursor": ended, "results": results}, Repository(0).fetch_page)

    assert answer["done"] is True
    assert answer["images"] == []
    assert answer["failed"] == [
        {"repository": "app", "tag": "1", "force": True, "reason": "Throttled"},
        {"repository": "app", "digest": DIGEST, "force": False, "reason": "Throttled"},
    ]
    assert [parse_request(one).force for one in answer["failed"]] == [True, False]


def test_after_many_failures_the_listing_stops_and_the_summary_says_so():
    repository = Repository(1_000)
    workflow = Workflow(repository, failing_once(), goes_on_after_retry=False)

    summary = workflow.run()

    assert repository.calls == 2
    assert summary["stopped"] == f"{MAX_FAILED} images failed: listing stopped at app"
    assert summary["outcomes"] == {"indexed": MAX_FAILED}


def test_when_the_failures_are_mended_the_listing_goes_on():
    repository = Repository(1_000)

    summary = Workflow(repository, failing_once()).run()

    assert repository.calls == 10
    assert (summary["images"], summary["outcomes"]) == (1_000, {"indexed": 1_000})
    assert summary["stopped"] is None


def test_the_state_stays_within_what_a_workflow_takes():
    repository = Repository(1_000, name="a" * 200)
    for image in repository.images:
        image["tag"] = f"{image['tag']:0<120}"
    repository.per_page = 60  # as many as a page of such names has
    workflow = Workflow(repository, by_turns("failed RegistryUnavailable"))

    with pytest.raises(ImagesFailed):
        workflow.run()

    assert workflow.largest_bytes < STATE_LIMIT_BYTES * 0.9


def test_images_that_fail_twice_are_counted_in_the_error_after_all_retries():
    once = failing_once()
    workflow = Workflow(
        Repository(90), lambda image: "failed Bad" if image["tag"] < "t00040" else once(image)
    )

    with pytest.raises(ImagesFailed) as caught:
        workflow.run()

    assert len(workflow.retried) == 90
    assert json.loads(str(caught.value)) == {
        "images": 90,
        "outcomes": {"failed": 40, "indexed": 50},
        "reasons": {"Bad": 40},
        "pages": 1,
        "stopped": None,
    }


def test_a_redrive_retries_once_the_images_that_failed_twice():
    bad = iter(["failed Bad"] * 6)
    workflow = Workflow(Repository(2), lambda _: next(bad, "indexed"))
    workflow.redrives = 1

    with pytest.raises(ImagesFailed):
        workflow.run()

    assert [one["tag"] for one in workflow.retried] == ["t00000", "t00001"] * 2
    workflow.retried.clear()
    bad = iter(["failed Bad"] * 4)
    assert workflow.run()["outcomes"] == {"indexed": 2}
    assert len(workflow.retried) == 4


def test_when_most_failures_remain_the_listing_stops_until_a_redrive():
    workflow = Workflow(Repository(1_000), by_turns("failed Bad"))

    with pytest.raises(ImagesFailed) as caught:
        workflow.run()

    assert json.loads(str(caught.value))["stopped"] == f"{MAX_FAILED} images failed: listing stopped at app"
    assert workflow.repository.calls == 2


def test_an_image_without_a_result_has_failed():
    repository = Repository(3)
    first: Any = next_step({"request": REQUEST}, repository.fetch_page)
    results = [outcome(repository.images[0], "indexed"), None, outcome(repository.images[2], "failed X")]

    for given in (results, [one for one in results if one]):
        answer: Any = next_step({**first, "results": given}, repository.fetch_page)
        assert answer["summary"]["outcomes"] == {"indexed": 1, "failed": 2}
        assert {one["tag"]: one["reason"] for one in answer["failed"]} == {
            "t00001": "no-outcome",
            "t00002": "X",
        }
        healed = {**answer, "results": [outcome(repository.images[2], "indexed")]}
        again: Any = next_step(healed, repository.fetch_page)
        assert [one["tag"] for one in again["failed"]] == ["t00001"]
        assert again["summary"]["outcomes"] == {"indexed": 2, "failed": 1}


def test_a_listing_too_long_for_an_execution_stops_and_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(reindex, "MAX_CALLS", 3)

    summary = Workflow(Repository(1_000), failing_once(every=100)).run()

    assert (summary["pages"], summary["outcomes"]) == (3, {"indexed": 300})
    assert summary["stopped"] == (
        "3 pages are all that one execution holds: listing stopped at app; start again with only_missing"
    )


def test_the_pages_of_an_execution_leave_room_in_its_history():
    events_of_a_page, events_of_an_execution = 11, 25_000

    assert reindex.MAX_CALLS * events_of_a_page <= 0.8 * events_of_an_execution


def test_a_call_that_lists_nothing_yet_is_not_the_end():
    empty = Page(images=(), next_cursor=Cursor(repository="b"))

    answer = next_step({"request": REQUEST}, lambda *_: empty)

    assert (answer["images"], answer["done"]) == ([], False)


def test_a_step_that_is_repeated_gives_the_same_state():
    repository = Repository(250)
    first = next_step({"request": REQUEST}, repository.fetch_page)
    state = {
        **first,
        "results": Workflow(repository, by_turns("indexed", "failed X")).outcomes(repository.images[:100]),
    }

    assert next_step(state, repository.fetch_page) == next_step(state, repository.fetch_page)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (None, "request: got nothing, want an object"),
        ([], "request: got [], want an object"),
        ({}, "request.repositories: 0 items, want at least 1"),
        ({"repositories": "app"}, "request.repositories: got app, want a list"),
        ({"repositories": ["app", 1, ""]}, "request.repositories[1]: got 1, want globs; "),
        (
            {"repositories": ["app"], "tag": "1"},
            "request.tag: no such setting, there are repositories, tags,",
        ),
        ({"repositories": ["app"], "tags": []}, "request.tags: 0 items"),
        (
            {"repositories": ["app"], "pushed_since": "yesterday"},
            "request.pushed_since: got yesterday, want a date",
        ),
        (
            {"repositories": ["app"], "pushed_since": "2026-02-30"},
            "request.pushed_since: got 2026-02-30, want a date",
        ),
        ({"repositories": ["app"], "pushed_since": "2026-01-31T99"}, "request.pushed_since: "),
        (
            {"repositories": ["app"], "pushed_since": "2026-01-31 - 3 weeks"},
            "request.pushed_since: got '2026-01-31 - 3 weeks', want a date",
        ),
        (
            {"repositories": ["app"], "pushed_since": "0001-01-01 - 1 days"},
            "request.pushed_since: got 0001-01-01 - 1 days, want a date",
        ),
        (
            {"repositories": ["app"], "pushed_before": "2026-02-30"},
            "request.pushed_before: got 2026-02-30, want a date",
        ),
        (
            {"repositories": ["app"], "pushed_since": "2026-01-31", "pushed_before": "2026-01-31 - 1 hours"},
            "request.pushed_before: got 2026-01-31 - 1 hours, want later than pushed_since, 2026-01-31",
        ),
        (
            {"repositories": ["app"], "only_missing": "yes"},
            "request.only_missing: got yes, want true or false",
        ),
        ({"repositories": ["app"], "force": 1}, "request.force: got 1, want true or false"),
        (
            {"repositories": ["app"], "force": True, "only_missing": True},
            "request.force: got true, want false",
        ),
    ],
    ids=str,
)
def test_an_invalid_request_is_refused_before_images_are_listed(request_, problem):
    repository = Repository(1)

    with pytest.raises(InvalidRequest) as caught:
        next_step({"request": request_}, repository.fetch_page)

    assert problem in str(caught.value)
    assert repository.calls == 0


def test_every_bad_field_of_a_request_is_named():
    with pytest.raises(InvalidRequest) as caught:
        next_step(
            {"request": {"repositories": [1], "tags": 2, "force": 3, "extra": 4}}, Repository(0).fetch_page
        )

    assert [path in str(caught.value) for path in ("repositories[0]", "tags", "force", "extra")] == [True] * 4


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"results": ["app"]}, "results"),
        ({"results": [{"repository": "app"}]}, "results[0].outcome"),
        ({"results": {}}, "results"),
        ({"cursor": []}, "cursor"),
        ({"cursor": {"place": {"repository": "app", "after": ["x"]}}}, "cursor.place.after"),
        ({"summary": {"outcomes": {"indexed": "1"}}}, "outcomes.indexed"),
        ({"failed": ["app"]}, "failed"),
    ],
    ids=str,
)
def test_an_invalid_state_is_refused_with_the_path(state, path):
    with pytest.raises(InvalidDocument) as caught:
        next_step({"request": REQUEST, **state}, Repository(0).fetch_page)

    assert path in str(caught.value)
