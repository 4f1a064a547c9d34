"""`python -m infra.packaging`: build the layers in advance, for Lambda and for this machine. Needs the network."""

from __future__ import annotations

import sys

from infra.packaging import (
    ASSETS_DIR,
    LAMBDA_ARM64,
    LAMBDA_X86_64,
    PackagingFailed,
    build_assets,
    this_machine,
)


def main() -> None:
    """Build for every target that deployments and tests use."""
    try:
        for target in (LAMBDA_ARM64, LAMBDA_X86_64, this_machine()):
            build_assets(ASSETS_DIR, target=target)
    except PackagingFailed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
