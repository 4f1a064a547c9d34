"""Package the layers and functions for Lambda as folders, with pip and Python only."""

from __future__ import annotations

from infra.packaging.assets import ASSETS_DIR, Assets, build_assets
from infra.packaging.failures import PackagingFailed
from infra.packaging.target import LAMBDA_ARM64, LAMBDA_X86_64, Target, this_machine

__all__ = [
    "ASSETS_DIR",
    "LAMBDA_ARM64",
    "LAMBDA_X86_64",
    "Assets",
    "PackagingFailed",
    "Target",
    "build_assets",
    "this_machine",
]
