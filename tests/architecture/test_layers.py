from __future__ import annotations

import graphlib
import sys
import tomllib

import pytest

from tests.architecture.source import CORE, core_modules, part_of

VALUES = {"errors", "reasons", "oci"}
ENGINE = {*VALUES, "layer", "ztoc"}
PLACES = {"ports", "layout", "open"}
IMAGES = {*ENGINE, "ports", "settings", "filesystem", "index", "plan", "fetch", "copy", "image"}
RECIPES = {
    *IMAGES,
    "tagging",
    "reuse",
    "layer_copies",
    "index_layers",
    "layer_files",
    "assemble",
    "build",
    "remove",
}
# What each part of the core may import, from the bottom up: a line names only parts that stand above it here.
MAY_IMPORT: dict[str, set[str]] = {
    "soci": set(),
    "errors": set(),
    "reasons": set(),
    "oci": {"errors"},
    "settings": {"errors"},
    "stopping": {"errors"},
    "ports": {"errors", "oci"},
    "layer": VALUES,
    "ztoc": {*VALUES, "layer"},
    "layout": {"errors", "oci", "ports"},
    "registry": {"errors", "oci", "ports", "stopping"},
    "open": {"errors", "oci", "ports", "layout", "registry"},
    "filesystem": ENGINE,
    "index": {*ENGINE, "settings", "filesystem"},
    "plan": {*ENGINE, "settings"},
    "fetch": {*VALUES, "ports"},
    "copy": {*VALUES, "ports"},
    "counted": {*VALUES, "ports"},
    "tagging": {*VALUES, "ports"},
    "image": {*ENGINE, "ports", "fetch"},
    "reuse": {*ENGINE, "ports", "settings", "plan"},
    "layer_copies": {*ENGINE, "ports", "settings", "plan"},
    "index_layers": {*ENGINE, "ports", "settings", "stopping", "plan", "reuse", "layer_copies"},
    "layer_files": {*ENGINE, "ports", "filesystem", "image"},
    "assemble": {*IMAGES, "layer_copies", "layer_files"},
    "push": {*IMAGES, "assemble"},
    "build": {*IMAGES, "tagging", "reuse", "layer_copies", "index_layers", "assemble", "push"},
    "remove": {*IMAGES, "tagging"},
    "verify": {*IMAGES, "index_layers", "layer_files"},
    "service": {*RECIPES, "push", "registry", "stopping"},
    "inventory": {*VALUES, "ports", "registry"},
    "status": {*RECIPES, "registry", "inventory", "service"},
    "orphans": {*RECIPES, "inventory"},
    "tasks": {*RECIPES, "inventory", "service", "status"},
    "cli": {
        *RECIPES,
        *PLACES,
        "registry",
        "counted",
        "verify",
        "service",
        "inventory",
        "status",
        "orphans",
        "tasks",
    },
    "__main__": {"cli"},
}
MODULES = core_modules()
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def test_the_order_of_the_parts_goes_downwards():
    seen: set[str] = set()
    for part, below in MAY_IMPORT.items():
        assert below <= seen, f"{part} may import {below - seen}, which does not lie below it"
        seen.add(part)


@each_module
def test_a_module_imports_only_parts_below_its_own(module):
    assert module.part in MAY_IMPORT, f"say in MAY_IMPORT where {module.part} belongs"
    imported = {part_of(name) for name in module.imports() if name.split(".")[0] == "soci" and "." in name}

    upward = imported - MAY_IMPORT[module.part] - {module.part, "__version__"}

    assert not upward, f"{module.path} imports {sorted(upward)}"


def test_no_module_of_the_core_imports_itself_in_a_circle():
    names = {module.name for module in MODULES}
    graph = {module.name: (set(module.imports()) & names) - {module.name, "soci"} for module in MODULES}

    order = list(
        graphlib.TopologicalSorter(graph).static_order()
    )  # raises CycleError, which shows the circle

    assert set(order) == names


@each_module
def test_a_module_imports_only_the_packages_that_its_part_declares(module):
    project = tomllib.loads((CORE.parent / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    if extra := {"cli": "cli", "registry": "aws", "service": "aws"}.get(module.part):
        declared += project["optional-dependencies"][extra]
    packages = {requirement.split(">=")[0].replace("-", "_") for requirement in declared}

    if "boto3" in packages:
        packages |= {"botocore"}  # boto3's other half, of the same version

    outside = {name.split(".")[0] for name in module.imports()} - sys.stdlib_module_names - {"soci"}

    assert outside <= packages
