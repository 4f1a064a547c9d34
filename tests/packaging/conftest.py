"""The deployed assets. `make layers` has built them, so tests need no network."""

from __future__ import annotations

import pytest

from infra.packaging import ASSETS_DIR, LAMBDA_ARM64, LAMBDA_X86_64, build_assets, this_machine


@pytest.fixture(scope="session")
def arm64():
    return build_assets(ASSETS_DIR, target=LAMBDA_ARM64)


@pytest.fixture(scope="session")
def x86_64():
    return build_assets(ASSETS_DIR, target=LAMBDA_X86_64)


@pytest.fixture(scope="session")
def here():
    return build_assets(ASSETS_DIR, target=this_machine())
