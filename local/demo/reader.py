"""The command line, as a user of the registry runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local.system.system import LocalSystem

SOCI_INDEX = Path(sys.executable).with_name("soci-index")


class DemoFailed(Exception):
    """A check of the demonstration failed; the message says which."""


class Reader:
    """The command line, logged in to the registry like a user."""

    def __init__(self, system: LocalSystem, directory: Path) -> None:
        login = {"username": "AWS", "password": system.registry.issue_password()}
        (directory / "config.json").write_text(json.dumps({"auths": {system.registry.host: login}}))
        self.environment = {**os.environ, "DOCKER_CONFIG": str(directory)}

    def output(self, *arguments: str) -> str:
        """Run a command and return its output. Raises DemoFailed."""
        done = subprocess.run(
            [str(SOCI_INDEX), *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoFailed(f"soci-index {arguments[0]}: {done.stderr.strip()}")
        return done.stdout
