from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.source import ROOT

LOCKS = ["requirements-lock.txt", "layers/dependencies/requirements.txt", "bench/wheels.txt"]
REQUIREMENTS = [*LOCKS, "requirements.txt", "requirements-dev.txt"]


def locked_versions(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / path).read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS)
def test_every_locked_package_has_a_hash(path):
    text = re.sub(r"\\\n", "", (ROOT / path).read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("path", REQUIREMENTS)
def test_no_file_names_a_registry(path):
    text = (ROOT / path).read_text()

    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host", text)


def test_what_is_deployed_is_what_is_tested():
    tested = locked_versions("requirements-lock.txt")
    deployed = locked_versions("layers/dependencies/requirements.txt")

    assert deployed.items() <= tested.items()


def test_the_layer_has_all_that_the_core_needs():
    project = tomllib.loads((ROOT / "layers/soci/pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=\[;]", requirement)[0].strip() for requirement in project["dependencies"]}

    assert needed <= locked_versions("layers/dependencies/requirements.txt").keys()


def test_the_lock_holds_the_versions_that_deploy_the_stack():
    pinned = locked_versions("requirements.txt")

    assert pinned
    assert pinned.items() <= locked_versions("requirements-lock.txt").items()
