from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.architecture.source import ROOT


def run_app(out, *, context=None):
    """Run app.py as the CDK command line does."""
    environment = os.environ | {"CDK_OUTDIR": str(out)}
    if context is not None:
        environment["CDK_CONTEXT_JSON"] = json.dumps(context)
    return subprocess.run(
        [sys.executable, ROOT / "app.py"],
        env=environment,
        cwd=out,
        check=False,
        capture_output=True,
        text=True,
    )


def synthesize(out, *, context=None) -> Any:
    """Run the app, and give the manifest of what it wrote."""
    result = run_app(out, context=context)
    assert result.returncode == 0, result.stderr
    return json.loads((out / "manifest.json").read_text())


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    """The folder of a cloud assembly, with the defaults."""
    folder = tmp_path_factory.mktemp("assembly")
    synthesize(folder)
    return folder


def test_the_app_synthesizes_one_stack_without_credentials(assembly):
    manifest = json.loads((assembly / "manifest.json").read_text())

    stacks = [item for item in manifest["artifacts"].values() if item["type"] == "aws:cloudformation:stack"]
    assert [stack["properties"]["stackName"] for stack in stacks] == ["soci-index-builder"]


def test_context_given_on_the_command_line_comes_before_the_defaults(tmp_path):
    context = {"stack_name": "soci-in-staging", "aws:cdk:disable-asset-staging": True}
    manifest = synthesize(tmp_path, context=context)

    assert manifest["artifacts"]["Soci"]["properties"]["stackName"] == "soci-in-staging"


def test_context_that_is_wrong_is_refused_in_one_line_that_names_it(tmp_path):
    result = run_app(tmp_path, context={"setings": 1, "deployment": {"images_at_a_time": 0}})

    assert result.returncode == 1
    assert result.stderr == (
        "setings: no such key, there are stack_name, settings, deployment; "
        "deployment.images_at_a_time: got 0, want a whole number, 1 to 30\n"
    )


def test_what_is_uploaded_is_what_packaging_built_for_lambda(assembly):
    layers = {path.parent for path in assembly.glob("asset.*/python")}
    handlers = sorted(assembly.glob("asset.*/handler.py"))
    assert len(layers) == 2
    assert len(handlers) == 4
    assert [path for layer in layers for path in layer.glob("python/soci/service")]
    assert [path.name for layer in layers for path in layer.rglob("*aarch64*.so")]
