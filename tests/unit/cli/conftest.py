"""Running a command line, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from soci.cli.app import run
from tests.builders import image_of, layout_of, multi_platform
from tests.unit.cli.samples import LAYER, PLATFORMS, UPPER


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a command: its exit status and both outputs."""

    status: int
    raw: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.raw.decode()

    @property
    def document(self) -> Any:
        """The one JSON document of the standard output."""
        return json.loads(self.raw)


@pytest.fixture
def soci_index(capsysbinary):
    """Run a command line in this process."""

    def command(*arguments: object, status: int = 0) -> Result:
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            run([str(argument) for argument in arguments])
        raw, errors = capsysbinary.readouterr()
        assert isinstance(end.value.code, int)
        result = Result(status=end.value.code, raw=raw, stderr=errors.decode())
        assert result.status == status, result
        return result

    return command


@pytest.fixture
def process():
    """Run a command line in a process of its own."""

    def command(*arguments: object, status: int = 0, **options: Any) -> Result:
        done = subprocess.run(
            ["soci-index", *map(str, arguments)], capture_output=True, check=False, timeout=60, **options
        )
        result = Result(status=done.returncode, raw=done.stdout, stderr=done.stderr.decode())
        assert result.status == status, result
        return result

    return command


@pytest.fixture
def layout(tmp_path):
    """An OCI layout with an image for one platform, of two layers, tagged `latest`."""
    return layout_of(tmp_path / "image", image_of(LAYER, UPPER, platform=PLATFORMS[0]))


@pytest.fixture
def two_platforms(tmp_path):
    """An OCI layout with an image for two platforms, tagged `latest`."""
    images = [image_of(LAYER, platform=platform) for platform in PLATFORMS]
    return layout_of(tmp_path / "two", multi_platform(*images))


@pytest.fixture
def layer_file(tmp_path):
    """A gzip layer in a file."""
    path: Path = tmp_path / "layer.tar.gz"
    path.write_bytes(LAYER)
    return path
