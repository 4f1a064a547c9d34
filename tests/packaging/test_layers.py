from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.packaging import LAMBDA_ARM64, LAMBDA_X86_64
from infra.packaging.compiled import misfit_of
from infra.packaging.tree import files_in, read_tree

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "layers/dependencies/requirements.txt").read_text()
LOCKED = set(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCK, re.MULTILINE))
LAMBDAS = {"arm64": LAMBDA_ARM64, "x86_64": LAMBDA_X86_64}
each_lambda = pytest.mark.parametrize("architecture", LAMBDAS)


@pytest.fixture
def dependencies(request, architecture):
    return request.getfixturevalue(architecture).dependencies_layer / "python"


def compiled_in(folder):
    return [file for file in files_in(folder) if file.read_bytes()[:4] == b"\x7fELF"]


@each_lambda
def test_a_layer_has_every_package_of_the_lock_and_no_other(dependencies):
    installed = {
        tuple(info.name.removesuffix(".dist-info").lower().replace("_", "-").rsplit("-", 1))
        for info in dependencies.glob("*.dist-info")
    }

    assert installed == LOCKED


@each_lambda
def test_every_compiled_file_runs_on_the_target(architecture, dependencies):
    compiled = compiled_in(dependencies)

    assert {file.parent.name for file in compiled} == {"zlib_ng", "zstandard"}
    assert [misfit_of(file, LAMBDAS[architecture]) for file in compiled] == [None] * len(compiled)
    assert all(".cpython-313-" in file.name for file in compiled)


def test_layers_of_both_architectures_differ_in_compiled_files_only(arm64, x86_64):
    contents = []
    for assets in (arm64, x86_64):
        layer = assets.dependencies_layer
        compiled = {*compiled_in(layer)}
        plain = [file for file in files_in(layer) if file not in compiled and file.name != "WHEEL"]
        contents.append({file.relative_to(layer): file.read_bytes() for file in plain})

    assert contents[0] == contents[1]
    assert len(contents[0]) > 300


def test_a_function_with_its_layers_stays_small(arm64):
    folders = (arm64.dependencies_layer, arm64.core_layer, *arm64.functions.values())

    assert sum(read_tree(folder).size_bytes for folder in folders) < 25 << 20


def test_the_lock_has_hashes_and_no_markers():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith((" ", "#"))]

    assert len(lines) == len(LOCKED) > 0
    assert not [line for line in lines if ";" in line]
    assert all(entry.count("--hash=sha256:") > 0 for entry in re.split(r"\n(?=\w)", LOCK)[1:])


def test_the_lock_of_the_layer_agrees_with_that_of_the_tests():
    tested = set(
        re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", (ROOT / "requirements-lock.txt").read_text(), re.MULTILINE)
    )

    assert tested >= LOCKED, "a function must run with the versions that the tests have run with"


def test_neither_lock_names_the_host_of_a_registry():
    locks = ["requirements-lock.txt", "layers/dependencies/requirements.txt", "package-lock.json"]
    entries = [
        line for name in locks for line in (ROOT / name).read_text().splitlines() if "funding" not in line
    ]

    assert not [
        line for line in entries if '"resolved"' in line or "--index-url" in line or "--find-links" in line
    ]


def test_layers_carry_no_command_line(here):
    folders = (here.dependencies_layer, here.core_layer)
    tops = {path.name for folder in folders for path in (folder / "python").iterdir()}

    assert not tops & {"typer", "rich", "bin", "pip", "awslambdaric"}
