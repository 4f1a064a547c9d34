"""The three flows in the page on architecture, against runs: each module that is listed is passed, in that order."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType, ModuleType
from typing import Any

import pytest

from local.registry import EcrLogin, Registry
from soci.cli.app import run
from soci.oci.digest import digest_of
from tests.architecture.source import CORE, ROOT
from tests.aws_environment import as_aws
from tests.builders import Image, file, gzip_of, image_of, layout_of, tar_of, text
from tests.docs.test_architecture import FLOWS, hops
from tests.unit.service.places import SMALL, InMemory, event

LAYER = gzip_of(tar_of(file("app", text(300_000))))
FOLDERS = [CORE / "soci", ROOT / "lambdas"]
BESIDE = (
    *("oci/", "places/", "errors.py", "reasons.py", "settings.py"),
    *(
        f"service/{name}"
        for name in ("settings/", "messages.py", "layer_messages.py", "message_codec.py", "outcomes.py")
    ),
    *(f"service/{name}.py" for name in ("deadline", "failure_log", "filter/promised_tag")),
    *(f"start/{name}.py" for name in ("artifact", "line")),
    *(f"service/layer/{name}.py" for name in ("catalog", "entry", "row_mac", "optional_service")),
    *(
        f"layer/{name}.py"
        for name in ("checkpoint", "chunks", "gzip_header", "inflate", "pax", "spans", "worker")
    ),
    *(f"ztoc/{name}.py" for name in ("checkpoints", "decode", "entries", "flatbuffer", "model", "paths")),
    *("index/document.py", "index/manifest.py"),
    *(f"cli/{name}.py" for name in ("option_groups", "options", "start_options", "start_profiles")),
    *(f"cli/{name}.py" for name in ("reports", "profile_reports", "terminal", "ztoc_directory")),
    "start/artifact.py",
)
"""Values, the places that read and write, and helpers that one listed module calls: the page does not list them."""


class Context:
    """What Lambda says of an invocation."""

    function_name = "function"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@contextmanager
def calls() -> Iterator[Callable[[], list[str]]]:
    """Record which modules are called inside the block, by all threads, in the order of their first call."""
    first: dict[str, int] = {}
    number = count()

    def note(frame: FrameType, kind: str, _: object) -> None:
        code = frame.f_code
        if kind == "call" and code.co_flags & inspect.CO_OPTIMIZED:  # a function, not the body of a class
            first.setdefault(code.co_filename, next(number))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield lambda: [named(path) for path in sorted(first, key=first.__getitem__)]
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def named(path: str) -> str:
    """Name a source file as the page does."""
    for folder in FOLDERS:
        if path.startswith(f"{folder}/"):
            return path.removeprefix(f"{folder if folder.name == 'soci' else ROOT}/")
    return path


def listed(name: str) -> list[str]:
    return next(hops(flow) for title, flow in FLOWS.items() if title.startswith(name))


def assert_passed(name: str, called: list[str], *, beside: Collection[str] = ()) -> None:
    modules = listed(name)
    assert [one for one in modules if one not in called] == []
    assert sorted(modules, key=called.index) == modules
    ours = [one for one in called if not one.startswith(("/", "<"))]
    assert [one for one in ours if one not in (*modules, *beside) and not one.startswith(BESIDE)] == []


@pytest.fixture
def image() -> Image:
    return image_of(LAYER)


@pytest.fixture
def registry(monkeypatch, image):
    with Registry(login=EcrLogin()) as running, as_aws(running):
        monkeypatch.setenv("SOCI_REGISTRY", running.host)
        monkeypatch.setenv("SOCI_SETTINGS", json.dumps(SMALL))
        # A table that refuses: the layer is looked up there, and then built.
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://{running.host}")
        monkeypatch.setenv("SOCI_ZTOC_TABLE", "no-such-table")
        monkeypatch.setenv("SOCI_ZTOC_MAC_KEY", "no-such-key")
        InMemory(registry=running).put("team/app", image, "1.4")
        yield running


def function(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("handler", ROOT / f"lambdas/{name}/handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("registry")
def test_a_layer_passes_the_modules_that_the_page_lists(image):
    layer = {"digest": str(digest_of(LAYER)), "size": len(LAYER), "compression": "gzip"}
    job = {
        "image": {"repository": "team/app", "digest": str(image.root.digest)},
        "layer": layer,
        "force": False,
    }
    handler = function("index_builder")

    with calls() as called:
        outcome = handler.index_layer(job, Context())

    assert "ztoc" in outcome
    assert_passed("A layer", called(), beside=["build/plan.py"])  # it makes the task for the indexer


@pytest.mark.usefixtures("registry")
def test_an_event_passes_the_modules_that_the_page_lists(image):
    push: dict[str, Any] = event("push")
    push["detail"] |= {"image-digest": str(image.root.digest)}
    handler = function("image_filter")

    with calls() as called:
        decision = handler.handler({"request": push, "execution": "one"}, Context())

    assert decision["action"] == "index"
    assert_passed("An event", called())


def test_convert_passes_the_modules_that_the_page_lists(tmp_path, image, capsys):
    source = layout_of(tmp_path / "source", image)
    command = [
        "convert",
        f"oci:{source}",
        f"oci:{tmp_path / 'out'}:1",
        "--min-layer-size",
        "0",
        "--jobs",
        "1",
    ]

    with calls() as called, pytest.raises(SystemExit) as end:
        run(command)

    assert end.value.code == 0, capsys.readouterr().err
    inside_the_indexer = listed("A layer")
    assert_passed("`convert`", called(), beside=[*inside_the_indexer, "index/classify.py"])
