from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.architecture.source import ROOT


def synthesize(out, *, context=None) -> Any:
    """Run app.py as the CDK command line does, and give the manifest of what it wrote."""
    environment = os.environ | {"CDK_OUTDIR": str(out)}
    if context is not None:
        environment["CDK_CONTEXT_JSON"] = json.dumps(context)
    subprocess.run(
        [sys.executable, ROOT / "app.py"], env=environment, cwd=out, check=True, capture_output=True
    )
    return json.loads((out / "manifest.json").read_text())


def test_the_app_synthesizes_one_stack_without_credentials(tmp_path):
    manifest = synthesize(tmp_path)

    stacks = [item for item in manifest["artifacts"].values() if item["type"] == "aws:cloudformation:stack"]
    assert [stack["properties"]["stackName"] for stack in stacks] == ["soci-index-builder"]


def test_context_given_on_the_command_line_comes_before_the_defaults(tmp_path):
    manifest = synthesize(tmp_path, context={"stack_name": "soci-in-staging"})

    assert manifest["artifacts"]["Soci"]["properties"]["stackName"] == "soci-in-staging"
