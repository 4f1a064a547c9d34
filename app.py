"""The CDK app: settings from context, one stack, synth. It makes no AWS call and needs no credentials."""

from __future__ import annotations

import json
import os
from pathlib import Path

from aws_cdk import App

from infra.config import StackConfig
from infra.stack import SociStack

HERE = Path(__file__).parent


def main() -> None:
    """Write the cloud assembly to where the CDK command line asks for it, else to cdk.out.

    The defaults are those of cdk.json, also when this file is run without the CDK command line; what that one
    is given (`--context stack_name=...`) comes first.
    """
    defaults = json.loads((HERE / "cdk.json").read_text())["context"]
    app = App(context=defaults, outdir=os.environ.get("CDK_OUTDIR", str(HERE / "cdk.out")))
    SociStack(app, config=StackConfig.from_context({key: app.node.try_get_context(key) for key in defaults}))
    app.synth()


if __name__ == "__main__":
    main()
