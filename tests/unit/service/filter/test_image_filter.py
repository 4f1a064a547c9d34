"""The filter function as Lambda calls it, over the registry in memory with ECR's login."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from local.registry import Answer, EcrLogin, Harm, Registry
from soci.errors import InvalidRequest, RegistryError, RegistryUnavailable
from tests.aws_environment import as_aws
from tests.builders import file, gzip_of, image_of, tar_of, text
from tests.handlers import capture_log, load_handler
from tests.unit.service.places import SMALL, InMemory, event

IMAGE = image_of(gzip_of(tar_of(file("app", text(50_000)))))


class Context:
    """What Lambda tells of an invocation."""

    function_name = "image-filter"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:image-filter"
    aws_request_id = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def __init__(self, milliseconds_left: int = 120_000) -> None:
        self._milliseconds_left = milliseconds_left

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds_left


@pytest.fixture
def registry(monkeypatch):
    with Registry(login=EcrLogin()) as running, as_aws(running):
        monkeypatch.setenv("SOCI_REGISTRY", running.host)
        monkeypatch.setenv("SOCI_SETTINGS", json.dumps(SMALL))
        InMemory(registry=running).put("team/app", IMAGE, "1.4")
        yield running


@pytest.fixture
def function(registry: Registry) -> ModuleType:  # noqa: ARG001 - it finds the registry by the environment
    """A module of its own for each test, as each process of Lambda has."""
    return load_handler("image_filter")


@pytest.fixture
def log(function):
    """The lines that the function writes, parsed."""
    return capture_log(function)


def push_event() -> dict[str, Any]:
    document: dict[str, Any] = event("push")
    document["detail"]["image-digest"] = str(IMAGE.root.digest)
    return document


def started_by(request: Any) -> dict[str, Any]:
    """What the first state of an execution hands over."""
    return {"request": request, "execution": "nightly-7"}


def test_a_push_gets_a_decision_and_logs_one_line(function, log):
    answer = function.handler(started_by(push_event()), Context())

    assert (answer["action"], answer["repository"], answer["tag"]) == ("index", "team/app", "1.4")
    assert json.loads(json.dumps(answer)) == answer
    [line] = log()
    assert (line["level"], line["message"], line["action"]) == ("INFO", "decided", "index")
    assert (line["repository"], line["layers"], line["platforms"]) == ("team/app", 1, 1)


def test_an_image_by_hand_gets_the_same_decision_except_its_origin(function):
    asked_for = function.handler(started_by({"repository": "team/app", "tag": "1.4"}), Context())
    pushed = function.handler(started_by(push_event()), Context())

    of_the_event = {name: pushed[name] for name in ("pushed_at", "correlation_id")}
    assert asked_for | {"origin": "push", **of_the_event} == pushed


def test_the_correlation_id_is_that_of_the_event_or_the_name_of_the_execution(function, log):
    pushed = function.handler(started_by(push_event()), Context())
    asked_for = function.handler(started_by({"repository": "team/app", "tag": "1.4"}), Context())

    assert (pushed["correlation_id"], asked_for["correlation_id"]) == (push_event()["id"], "nightly-7")
    assert [line["correlation_id"] for line in log()] == [push_event()["id"], "nightly-7"]


def test_a_skipped_image_has_its_reason_in_the_decision_and_the_log(function, log):
    answer = function.handler(started_by(event("push-empty-tag")), Context())

    assert (answer["outcome"], answer["reason"]) == ("skipped", "untagged")
    assert log()[0]["reason"] == "untagged"


def test_a_warm_function_does_not_log_in_again(function, registry):
    for _ in range(3):
        function.handler(started_by(push_event()), Context())

    assert [one.aws_action for one in registry.requests if one.aws_action] == ["GetAuthorizationToken"]


def test_an_invalid_request_is_an_error_that_names_the_field_and_is_logged(function, log):
    with pytest.raises(InvalidRequest, match="repository: got nothing") as raised:
        function.handler(started_by({"tag": "1.4"}), Context())

    [line] = log()
    assert (line["level"], line["error"], line["detail"]) == ("ERROR", "InvalidRequest", str(raised.value))
    assert line["correlation_id"] == "nightly-7"


def test_a_registry_that_hangs_is_an_error_before_the_function_times_out(function, registry, log):
    registry.fail(Harm.HANG, where=lambda seen: "/manifests/" in seen.path, times=None)

    with pytest.raises(RegistryUnavailable):
        function.handler(started_by(push_event()), Context(milliseconds_left=1_500))

    assert [line["error"] for line in log()] == ["RegistryUnavailable"]


def test_a_registry_that_refuses_is_an_error_in_the_log_and_the_workflow(function, registry, log):
    registry.fail(Answer(403), where=lambda seen: "/manifests/" in seen.path, times=None)

    with pytest.raises(RegistryError):
        function.handler(started_by(push_event()), Context())

    [line] = log()
    assert (line["level"], line["repository"]) == ("ERROR", "team/app")
    assert line["error"] == "Unauthorized"
