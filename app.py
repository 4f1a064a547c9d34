"""The CDK app: one stack, configured by the CDK context. It makes no AWS call and needs no credentials."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from aws_cdk import App

from infra.config import InvalidConfig, LambdaArchitecture, StackConfig
from infra.packaging import ASSETS_DIR, LAMBDA_ARM64, LAMBDA_X86_64, PackagingFailed, build_assets
from infra.stack import SociStack

HERE = Path(__file__).parent
TARGETS = {LambdaArchitecture.ARM64: LAMBDA_ARM64, LambdaArchitecture.X86_64: LAMBDA_X86_64}


def main() -> None:
    """Write the cloud assembly to the folder that the CDK command line names, or to cdk.out.

    The context of cdk.json holds the defaults, also when this file runs without the CDK command line. Values given by
    `--context stack_name=...` override them.
    """
    defaults = json.loads((HERE / "cdk.json").read_text())["context"]
    app = App(context=defaults, outdir=os.environ.get("CDK_OUTDIR", str(HERE / "cdk.out")))
    config = StackConfig.from_context(app.node.get_all_context())
    assets = build_assets(ASSETS_DIR, target=TARGETS[config.deployment.lambda_architecture])
    SociStack(app, config=config, assets=assets)
    app.synth()


if __name__ == "__main__":
    try:
        main()
    except (InvalidConfig, PackagingFailed) as refused:
        sys.exit(str(refused))
