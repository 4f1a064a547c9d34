"""The function image_lister as Lambda calls it, with all of the registry behind it."""

from __future__ import annotations

import io
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from local.registry import EcrLogin, Registry
from local.registry.store import digest_of
from soci.errors import InvalidRequest
from soci.service.settings.configuration import Configuration
from tests.aws_environment import as_aws
from tests.handlers import load_handler

CONTEXT = SimpleNamespace(
    function_name="ImageLister",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:ImageLister",
    aws_request_id="request-1",
    get_remaining_time_in_millis=lambda: 300_000,
)


@pytest.fixture
def registry():
    with Registry(login=EcrLogin()) as running, as_aws(running):
        yield running


@pytest.fixture
def handler(registry, monkeypatch):
    monkeypatch.setenv("SOCI_REGISTRY", registry.host)
    monkeypatch.setenv("SOCI_SETTINGS", json.dumps(Configuration().to_document()))
    monkeypatch.setenv("SOCI_STACK", "soci-index-builder")
    module = load_handler("image_lister")
    return lambda state: json.loads(json.dumps(module.handler(state, CONTEXT)))


@pytest.fixture
def log(handler, monkeypatch):  # noqa: ARG001 - the handler's module makes the logger
    """What the function logs; the logger of a process keeps the stream it found first."""
    lines = io.StringIO()
    (to,) = logging.getLogger("soci-index-builder").handlers
    monkeypatch.setattr(to, "stream", lines)
    return lines


def stock(registry: Registry, repository: str, count: int) -> None:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"x"), "size": 1}
    for number in range(count):
        document = {"schemaVersion": 2, "config": config, "layers": [], "annotations": {"n": str(number)}}
        registry.repository(repository).put_manifest(json.dumps(document).encode(), tag=f"t{number}")


def test_pages_are_listed_and_counted_until_the_end(registry, handler):
    stock(registry, "app", 120)
    state: Any = {
        "request": {"repositories": ["app"]},
        "cursor": None,
        "summary": {},
        "failed": [],
        "results": [],
    }

    sizes = []
    while not state.get("done"):
        state = handler(state)
        sizes.append(len(state["images"]))
        state["results"] = [{**image, "outcome": "indexed", "reason": None} for image in state["images"]]

    assert sizes == [100, 20, 0]
    assert state["summary"] == {
        "images": 120,
        "outcomes": {"indexed": 120},
        "reasons": {},
        "pages": 2,
        "stopped": None,
    }


def test_a_warm_process_asks_for_one_login_and_keeps_it(registry, handler):
    stock(registry, "app", 10)
    request = {"request": {"repositories": ["app"], "only_missing": True}}

    answers = [handler(request)["images"] for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    asked = [seen.aws_action for seen in registry.requests]
    assert asked.count("GetAuthorizationToken") == 1


def test_each_call_logs_one_line(registry, handler, log):
    stock(registry, "app", 3)
    handler({"request": {"repositories": ["app"]}})

    (line,) = map(json.loads, log.getvalue().splitlines())
    logged = {name: line[name] for name in ("message", "images", "failed", "done", "function_request_id")}
    assert logged == {
        "message": "listed",
        "images": 3,
        "failed": 0,
        "done": False,
        "function_request_id": "request-1",
    }


def test_an_error_is_logged_and_raised(handler, log):
    with pytest.raises(InvalidRequest, match="there is no repository none"):
        handler({"request": {"repositories": ["none"]}})

    (line,) = map(json.loads, log.getvalue().splitlines())
    assert (line["level"], line["error"]) == ("ERROR", "InvalidRequest")


def run_to_the_end(handler, request, *outcomes):
    """Re-index images with these outcomes."""
    state = handler({"request": request})
    while not state["done"]:
        images = zip(state["images"], outcomes, strict=False)
        state["results"] = [{**image, "outcome": outcome, "reason": "r"} for image, outcome in images]
        state = handler(state)


def test_a_scheduled_reindex_counts_the_missed_images_once(registry, handler, log):
    stock(registry, "app", 4)
    request = {"repositories": ["*"], "scheduled": True}
    run_to_the_end(handler, request, "indexed", "tagged", "skipped", "indexed")

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line.get("ImagesMissed") for line in lines] == [None, 2]
    (directive,) = lines[-1]["_aws"]["CloudWatchMetrics"]
    assert directive["Metrics"] == [{"Name": "ImagesMissed", "Unit": "Count"}]
    assert (directive["Dimensions"], lines[-1]["stack"]) == ([["stack"]], "soci-index-builder")


def test_an_image_that_fails_every_day_does_not_hide_the_missed_ones(registry, handler, log):
    stock(registry, "app", 51)
    state = handler({"request": {"repositories": ["*"], "scheduled": True}})
    bad, *others = state["images"]
    failed = [{**bad, "outcome": "failed", "reason": "GzipError"}]
    state["results"] = failed + [{**one, "outcome": "indexed", "reason": None} for one in others]
    retried = handler(state)
    ended = handler({**retried, "results": failed})

    assert missed(log) == [None, None, 50]

    again = handler({**ended, "execution": {"RedriveCount": 1}})
    handler({**again, "results": failed})
    assert missed(log)[3:] == [None, 0], "a redrive tells of nothing twice"
    handler({**again, "results": [{**bad, "outcome": "indexed", "reason": None}]})
    assert missed(log)[5:] == [1]


def missed(log):
    return [json.loads(line).get("ImagesMissed") for line in log.getvalue().splitlines()]


def test_a_scheduled_reindex_that_misses_nothing_counts_zero(handler, log):
    handler({"request": {"repositories": ["*"], "scheduled": True}})

    assert json.loads(log.getvalue())["ImagesMissed"] == 0


def test_a_reindex_by_hand_counts_no_missed_images(registry, handler, log):
    stock(registry, "app", 1)
    run_to_the_end(handler, {"repositories": ["*"]}, "indexed")

    assert "ImagesMissed" not in log.getvalue()
