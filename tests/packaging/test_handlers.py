"""The deployed functions: only the packaged folders, behind Lambda's own runtime client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest

from local.lambda_runtime import LambdaError, LambdaProcess
from local.registry import EcrLogin, Registry
from local.system.aws_api import AwsApi
from local.system.push import Pusher
from soci.service.settings.configuration import Configuration
from tests.aws_environment import variables_for
from tests.builders import MemorySource, file, gzip_of, image_of, noise, tar_of
from tests.unit.service.example_outcomes import PUBLISHED, PUSH_ID, SIZES, assert_as_promised, result

HANDLERS = {
    "image_filter": "handler.handler",
    "index_layer": "handler.index_layer",
    "publish_index": "handler.publish_index",
    "image_lister": "handler.handler",
    "outcome_recorder": "handler.handler",
}
FOLDERS = {"index_layer": "index_builder", "publish_index": "index_builder"}
SETTINGS = {
    "rules": {"min_image_size_bytes": 0},
    "index": {"min_layer_size_bytes": 0, "span_size_bytes": 65536},
}
EVENT = json.loads((Path(__file__).parents[1] / "events" / "push.json").read_text())


@pytest.fixture(scope="module")
def registry():
    with Registry(login=EcrLogin()) as running:
        yield running


@pytest.fixture(scope="module")
def events():
    """The entries that are put on the event bus."""
    return []


@pytest.fixture(scope="module")
def functions(here, registry, events):
    with AwsApi(events.extend) as api, ExitStack() as stack:
        yield _started(here, registry, api, stack)


def _started(here, registry, api, stack):
    environment = {
        **variables_for(registry),
        "AWS_ENDPOINT_URL_EVENTBRIDGE": api.url,
        "SOCI_FUNCTION_SIZES": json.dumps(asdict(SIZES)),
        "SOCI_SETTINGS": json.dumps(Configuration.from_document(SETTINGS).to_document()),
        "SOCI_REGISTRY": registry.host,
        "SOCI_STACK": "soci-index-builder",
    }
    return {
        name: stack.enter_context(
            LambdaProcess(
                handler=handler,
                function_dir=here.functions[FOLDERS.get(name, name)],
                layer_dirs=[here.dependencies_layer, here.core_layer],
                environment=environment,
                timeout_seconds=60,
                name=name,
            )
        )
        for name, handler in HANDLERS.items()
    }


def push(registry, repository, *layers, tag):
    image = image_of(*layers)
    with Pusher(registry.host, repository, registry.issue_password()) as pusher:
        return pusher.push(MemorySource(image), tag)


def event_of(repository, digest, tag):
    """A push, in the form in which the first state of an execution passes it on."""
    detail = {"repository-name": repository, "image-digest": str(digest), "image-tag": tag}
    return {"request": {**EVENT, "detail": EVENT["detail"] | detail}, "execution": "an-execution"}


def test_an_event_becomes_an_index_through_the_packaged_functions(functions, registry):
    layers = [gzip_of(tar_of(file(name, noise(300_000, name)))) for name in ("a", "b")]
    root = push(registry, "team/app", *layers, tag="1.4")

    decision = functions["image_filter"].invoke(event_of("team/app", root.digest, "1.4"))
    image = {"repository": decision["repository"], "digest": decision["digest"]}
    outcomes = [
        functions["index_layer"].invoke({"image": image, "layer": layer}) for layer in decision["layers"]
    ]
    published = functions["publish_index"].invoke({**decision, "layers": outcomes})
    again = functions["image_filter"].invoke(event_of("team/app", root.digest, "1.4"))

    assert decision["action"] == "index"
    assert all(outcome["ztoc"].startswith("sha256:") for outcome in outcomes)
    assert published["outcome"] == "indexed"
    assert published["v2"]["tag"] == "1.4-soci"
    assert published["read_back"]["ztocs"] == 2
    assert (again["action"], again["reason"]) == ("skip", "already-indexed")


def test_the_lister_pages_through_the_registry(functions, registry):
    push(registry, "listed/app", gzip_of(tar_of(file("a", noise(1000)))), tag="7")

    state = functions["image_lister"].invoke({"request": {"repositories": ["listed/*"]}})

    assert [(item["repository"], item["tag"]) for item in state["images"]] == [("listed/app", "7")]


def test_an_outcome_gives_one_event_and_one_log_line(functions, events):
    answer = functions["outcome_recorder"].invoke(result(PUBLISHED))

    assert answer == {"told": "SOCI Index Created"}
    (entry,) = events
    assert_as_promised(entry)
    (line,) = [json.loads(line) for line in functions["outcome_recorder"].logs if '"_aws"' in line]
    assert (line["message"], line["stack"], line["correlation_id"]) == (
        "outcome",
        "soci-index-builder",
        PUSH_ID,
    )


def test_an_error_reaches_the_workflow_by_the_name_of_its_class(functions):
    with pytest.raises(LambdaError, match="repository") as caught:
        functions["image_filter"].invoke({"request": {"tag": "1.4"}})

    assert caught.value.error_type == "InvalidRequest"


def test_a_decision_is_one_line_of_json_in_the_log(functions, registry):
    root = push(registry, "logged/app", gzip_of(tar_of(file("a", noise(1000)))), tag="1")
    functions["image_filter"].invoke(event_of("logged/app", root.digest, "1"))

    lines = [line for line in functions["image_filter"].logs if "logged/app" in line]
    assert len(lines) == 1
    said = json.loads(lines[0])
    assert (said["level"], said["function_name"]) == ("INFO", "image_filter")
    assert said["xray_trace_id"]


LOADED = """
import sys
before = set(sys.modules)
import handler
print("\\n".join(set(sys.modules) - before))
"""
MODULES_AT_MOST = {"image_filter": 345, "index_builder": 356, "image_lister": 325, "outcome_recorder": 240}
"""Modules that a cold start may load, with those of the standard library. Raising a number is a decision."""
ONLY_WHEN_NEEDED = {
    "boto3",
    "botocore.session",
    "zstandard",
    "asyncio",
    "unittest",
    "pydantic",
    "typer",
    "rich",
}


@pytest.mark.parametrize("function", MODULES_AT_MOST)
def test_a_cold_start_loads_few_modules(here, registry, function):
    loaded = modules_loaded_by(here, function, registry)

    assert not ONLY_WHEN_NEEDED & set(loaded)
    assert len(loaded) <= MODULES_AT_MOST[function]


def modules_loaded_by(assets, function, registry):
    folders = [
        assets.functions[function],
        assets.dependencies_layer / "python",
        assets.core_layer / "python",
    ]
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOCI_REGISTRY": registry.host,
    }
    command = [sys.executable, "-S", "-P", "-s", "-c", LOADED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()
