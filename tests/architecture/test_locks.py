from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import botocore.session
import pytest
from packaging.requirements import Requirement

from tests.architecture.source import ROOT

LOCKS = ["requirements-lock.txt", "layers/dependencies/requirements.txt", "bench/wheels.txt"]
REQUIREMENTS = [*LOCKS, "requirements.txt", "requirements-dev.txt"]


def locked_versions(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (ROOT / path).read_text(), re.MULTILINE))


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


def test_an_extra_that_a_package_asks_for_is_pinned_with_its_extra():
    """pip takes ``coverage[toml]`` and a pin of ``coverage`` for two things: the day there is a newer release it
    refuses a lock that has lost the extra."""
    lock = (ROOT / "requirements-lock.txt").read_text()
    pinned = {
        match[1]: set(re.split(r",\s*", match[2] or ""))
        for match in re.finditer(r"^([\w.-]+)(?:\[(.*)\])?==", lock, re.MULTILINE)
    }
    asked_for = [
        requirement
        for name in pinned
        for requirement in requirements_of(name)
        if requirement.extras and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]

    assert asked_for
    assert [str(asked) for asked in asked_for if not asked.extras <= pinned[asked.name]] == []


def requirements_of(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in distribution(name).requires or []]
    except PackageNotFoundError:  # locked for another platform
        return []


def test_the_layer_has_all_that_the_core_needs():
    project = tomllib.loads((ROOT / "layers/soci/pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=\[;]", requirement)[0].strip() for requirement in project["dependencies"]}

    assert needed <= locked_versions("layers/dependencies/requirements.txt").keys()


def test_the_lock_holds_the_versions_that_deploy_the_stack():
    pinned = locked_versions("requirements.txt")

    assert pinned
    assert pinned.items() <= locked_versions("requirements-lock.txt").items()


def test_a_boto3_that_does_not_know_what_is_asked_of_ecr_is_refused():
    project = tomllib.loads((ROOT / "layers/soci/pyproject.toml").read_text())["project"]
    (boto3,) = (Requirement(one) for one in project["optional-dependencies"]["aws"])
    versions = ["1.40.76", "1.41.0", locked_versions("requirements-lock.txt")["boto3"]]

    assert [*boto3.specifier.filter(versions)] == versions[1:], "the first with ListImageReferrers is 1.41.0"


def test_the_locked_boto3_knows_what_is_asked_of_ecr():
    ecr = botocore.session.get_session().get_service_model("ecr")
    listed = ecr.operation_model("DescribeImages")

    assert "ListImageReferrers" in ecr.operation_names
    assert "ANY" in listed.input_shape.members["filter"].members["imageStatus"].enum
    image = listed.output_shape.members["imageDetails"].member
    assert {"artifactMediaType", "imageStatus", "subjectManifestDigest"} <= image.members.keys()
