"""The handlers as Lambda calls them, over the registry in memory with ECR's login."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from local.registry import Answer as Refusal
from local.registry import EcrLogin, Registry, request_to
from soci.errors import InvalidDocument, RegistryError, SizeMismatch
from soci.image.copy import copy_trees
from soci.oci.digest import digest_of
from soci.places.ports import ImageOpener
from soci.places.registry.connect import connect
from soci.service.messages import ImageRequest
from soci.verify import verify_image
from tests.aws_environment import as_aws
from tests.builders import Image, MemorySource, file, gzip_of, image_of, tar_of, text
from tests.handlers import capture_log, load_handler
from tests.service_steps import configured, plan_image, through_json

BASE = gzip_of(tar_of(file("base", text(300_000, "base"))))


class Context:
    """What Lambda tells of an invocation."""

    function_name = "index-builder"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:index-builder"
    aws_request_id = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture
def registry(monkeypatch):
    with Registry(login=EcrLogin()) as running, as_aws(running):
        monkeypatch.setenv("SOCI_REGISTRY", running.host)
        monkeypatch.setenv("SOCI_SETTINGS", json.dumps(configured().to_document()))
        yield running


@pytest.fixture
def our_logger() -> Iterator[None]:
    """Handlers let the core's log lines go where their own go; afterwards everything is as it was."""
    core = logging.getLogger("soci")
    before = core.handlers, core.propagate, core.level
    yield
    core.handlers, core.propagate = before[:2]
    core.setLevel(before[2])


@pytest.fixture
def handler(registry: Registry, our_logger: None) -> ModuleType:  # noqa: ARG001 - found by the environment
    """A module of its own for each test, as each process of Lambda has."""
    return load_handler("index_builder")


@pytest.fixture
def log(handler):
    """The lines that the handlers write, parsed."""
    return capture_log(handler)


def push(registry: Registry, image: Image) -> ImageOpener:
    place = connect(registry.host, is_ecr=True).open_image
    store = place("app", "1.0")
    copy_trees(MemorySource(image), store, (image.root,))
    store.push_root(image.root, "1.0")
    registry.forget_requests()
    return place


def decision_of(place: ImageOpener) -> dict[str, Any]:
    decision = plan_image(place, configured(), ImageRequest(repository="app", tag="1.0"))
    document: dict[str, Any] = through_json(decision.to_document())
    return document


def index(handler: ModuleType, state: dict[str, Any]) -> list[Any]:
    image = {"repository": state["repository"], "digest": state["digest"]}
    return [handler.index_layer({"image": image, "layer": layer}, Context()) for layer in state["layers"]]


def test_layers_and_then_the_image_are_published(registry, handler, log):
    place = push(registry, image_of(BASE))
    state = decision_of(place)

    state["layers"] = index(handler, state)
    published = handler.publish_index(through_json(state), Context())

    assert published == through_json(published), "what Lambda answers is JSON"
    assert published["outcome"] == "indexed"
    assert published["v2"]["tag"] == "1.0-soci"
    assert verify_image(place("app", "1.0-soci")).is_sound
    layer, image = log()
    assert (layer["message"], layer["layer"], layer["repository"]) == (
        "layer done",
        str(digest_of(BASE)),
        "app",
    )
    assert layer["ztoc"] == state["layers"][0]["ztoc"]
    assert (image["message"], image["outcome"], image["digest"]) == ("image done", "indexed", state["digest"])
    assert image["read_back"] == {"manifests": 3, "ztocs": 1, "spans": 1}
    assert {line["function_request_id"] for line in (layer, image)} == {Context.aws_request_id}


def test_warnings_of_the_core_are_logged_with_the_request(registry, handler, log, monkeypatch):
    monkeypatch.setenv("SOCI_ZTOC_TABLE", "ztocs")
    monkeypatch.setenv("SOCI_ZTOC_MAC_KEY", "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9")
    state = decision_of(push(registry, image_of(BASE)))

    index(handler, state)

    warning, done = log()
    assert (warning["level"], done["message"]) == ("WARNING", "layer done")
    assert warning["message"].startswith("table ztocs does not answer")
    assert warning["function_request_id"] == Context.aws_request_id
    assert (done["layer_bytes"], "reused" in done) == (len(BASE), False)


def test_all_calls_of_a_process_share_one_login(registry, handler, log):
    state = decision_of(push(registry, image_of(BASE)))

    index(handler, state)
    index(handler, state)

    actions = [seen.aws_action for seen in registry.requests if seen.aws_action]
    assert actions == ["GetAuthorizationToken"]
    assert len(log()) == 2


def test_an_error_passes_through_and_leaves_a_line_that_names_it(registry, handler, log):
    state = decision_of(push(registry, image_of(BASE)))
    state["layers"][0]["size"] -= 1

    with pytest.raises(SizeMismatch, match=digest_of(BASE).hex) as raised:
        index(handler, state)

    [line] = log()
    assert (line["level"], line["message"], line["error"]) == ("ERROR", "layer failed", "SizeMismatch")
    assert line["detail"] == str(raised.value)
    assert line["layer"] == str(digest_of(BASE))


def test_no_secret_is_in_what_is_logged(registry, handler, log):
    state = decision_of(push(registry, image_of(BASE)))
    registry.fail(Refusal(403), where=request_to("POST", "/uploads/"), times=None)

    with pytest.raises(RegistryError):
        index(handler, state)

    [line] = log()
    assert registry.issue_password() not in json.dumps(line)
    assert "Basic" not in json.dumps(line)
    assert "authorization" not in json.dumps(line).lower()


def test_a_message_of_another_shape_is_refused_by_the_path_of_the_bad_field_in_a_line(handler, log):
    with pytest.raises(InvalidDocument, match="image"):
        handler.index_layer({"layer": {}}, Context())
    with pytest.raises(InvalidDocument, match="action"):
        handler.publish_index({"repository": "app"}, Context())

    assert [(line["message"], line["error"]) for line in log()] == [
        ("layer failed", "InvalidDocument"),
        ("image failed", "InvalidDocument"),
    ]
