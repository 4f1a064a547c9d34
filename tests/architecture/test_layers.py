from __future__ import annotations

import graphlib
import sys
import tomllib
from collections import Counter

from tests.architecture.source import CORE, core_modules

VALUES = {"errors", "reasons", "oci"}
PORTS = {"places.ports", "places.cancellation"}
ENGINE = {*VALUES, "layer", "ztoc"}
IMAGES = {*ENGINE, *PORTS, "settings", "image", "index"}
SERVICE = {*IMAGES, "start", "places", "build", "service"}
# What each part of the core may import, from the bottom up: a row names only parts that stand above it here.
# A module belongs to the longest name that fits: soci.places.ports to `places.ports`, soci.places.open to `places`.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "reasons": set(),
    "settings": {"errors"},
    "oci": {"errors"},
    "places.ports": {"errors", "oci"},
    "places.cancellation": {"errors"},
    "places": {"errors", "oci", *PORTS},
    "layer": VALUES,
    "ztoc": {*VALUES, "layer"},
    "image": {*ENGINE, *PORTS},
    "index": {*ENGINE, *PORTS, "settings", "image"},
    "start": IMAGES,
    "verify": {*IMAGES, "start"},
    "build": {*IMAGES, "start"},
    "mount": {*IMAGES, "start"},
    "service": {*IMAGES, "start", "places", "build"},
    "upkeep": SERVICE,
    "cli": {*SERVICE, "verify", "mount", "upkeep"},
}
ENTRANCES = {"soci", "soci.__main__"}
"""The package itself, which imports nothing, and `python -m soci`."""

MODULES = core_modules()


def test_the_order_of_the_parts_goes_downwards():
    seen: set[str] = set()
    for part, below in MAY_IMPORT.items():
        assert below <= seen, f"{part} may import {below - seen}, which does not lie below it"
        seen.add(part)


def part_of(name: str) -> str | None:
    """Return the part that a module lies in; None for a module outside of all parts."""
    path = name.removeprefix("soci.")
    fitting = [part for part in MAY_IMPORT if path == part or path.startswith(f"{part}.")]
    return max(fitting, key=len, default=None)


def test_a_module_imports_only_parts_below_its_own():
    wrong = []
    for module in MODULES:
        if module.name in ENTRANCES:
            continue
        part = part_of(module.name)
        assert part, f"say in MAY_IMPORT where {module.name} belongs"
        imported = {part_of(name) for name in module.imports() if name.startswith("soci.")} - {None, part}
        wrong += [f"{module.path} imports {one}" for one in imported if one not in MAY_IMPORT[part]]

    assert wrong == []


def test_no_three_modules_have_one_name():
    names = Counter(module.path.stem for module in MODULES if module.path.stem != "__init__")

    assert [name for name, count in names.items() if count > 2] == []


def test_no_module_of_the_core_imports_itself_in_a_circle():
    names = {module.name for module in MODULES}
    graph = {module.name: (set(module.imports()) & names) - {module.name, "soci"} for module in MODULES}

    order = list(
        graphlib.TopologicalSorter(graph).static_order()
    )  # raises CycleError, which shows the circle

    assert set(order) == names


def test_no_package_of_the_core_imports_itself_in_a_circle():
    rooms = {module.name for module in MODULES if module.path.stem == "__init__"} - {"soci"}
    rooms |= {
        f"soci.{part}" for part in MAY_IMPORT
    }  # the ports have a row of their own, below what implements them
    graph: dict[str, set[str]] = {room: set() for room in rooms}
    for module in MODULES:
        if room := room_of(module.name, rooms):
            imported = (room_of(name, rooms) for name in module.imports())
            graph[room] |= {one for one in imported if one not in (None, room)}

    order = list(
        graphlib.TopologicalSorter(graph).static_order()
    )  # raises CycleError, which shows the circle

    assert set(order) == rooms


def room_of(name: str, rooms: set[str]) -> str | None:
    """Name the innermost room that a dotted name lies in; None outside the core."""
    parts = name.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((one for one in above if one in rooms), None)


def test_a_module_imports_only_the_packages_that_its_part_declares():
    project = tomllib.loads((CORE.parent / "pyproject.toml").read_text())["project"]
    extras = {"cli": "cli", "mount": "mount", "places": "aws", "service": "aws"}
    wrong = []
    for module in MODULES:
        declared = list(project["dependencies"])
        if extra := extras.get(part_of(module.name) or ""):
            declared += project["optional-dependencies"][extra]
        packages = {requirement.split(">=")[0].replace("-", "_") for requirement in declared}
        if "boto3" in packages:
            packages |= {"botocore"}  # boto3's other half, of the same version
        outside = {name.split(".")[0] for name in module.imports()} - sys.stdlib_module_names - {"soci"}
        wrong += [f"{module.path} imports {one}" for one in outside - packages]

    assert wrong == []
