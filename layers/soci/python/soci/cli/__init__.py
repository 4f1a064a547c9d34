"""The command `soci-index`: the recipes of the core, for a person at a terminal and for scripts."""

from __future__ import annotations


def main() -> None:
    """Run the command with the arguments of this process, and exit with its status."""
    from soci.cli.app import run  # noqa: PLC0415 - importing the package must not cost what the terminal needs

    run()
