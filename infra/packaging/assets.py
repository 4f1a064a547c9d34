"""The layers and functions as folders, for the stack to upload and for local runs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from infra.packaging.failures import PackagingFailed
from infra.packaging.shelf import keep_tree
from infra.packaging.target import Target
from infra.packaging.tree import Tree, copy_files, files_in, is_source
from infra.packaging.wheels import install_wheels

_ROOT = Path(__file__).parents[2]
_LOCK = _ROOT / "layers/dependencies/requirements.txt"
_CORE = _ROOT / "layers/soci/python/soci"
_NOT_IN_LAMBDA = ("cli", "__main__.py")  # the command line, which needs typer and rich
_FUNCTIONS = ("image_filter", "index_builder", "image_lister", "outcome_recorder")
_RECIPE = tuple(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
"""The source of this package: a change of it rebuilds every tree."""

ASSETS_DIR = _ROOT / ".layers"
"""Builds are kept here between runs; `make clean` removes it."""

MAX_UNPACKED_BYTES = 150 << 20
"""The limit for a function with its layers, unpacked. Lambda allows 250 MiB, but large packages start slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Folders to upload as they are. Each layer has a `python` folder; functions are named as in lambdas/."""

    dependencies_layer: Path
    core_layer: Path
    functions: Mapping[str, Path]


def build_assets(out_dir: Path, *, target: Target) -> Assets:
    """Build the folders missing in `out_dir`, and report their sizes on standard error.

    The same inputs give the same bytes. Only the first build of the dependency layer needs the network.

    Raises:
        PackagingFailed: a wheel is missing or for another target, a handler is missing, or the result is too large.
    """
    dependencies = _dependencies(out_dir, target)
    core = _sources(out_dir, "core", _CORE, below=Path("python/soci"), leave_out=_NOT_IN_LAMBDA)
    functions = {name: _function(out_dir, name) for name in _FUNCTIONS}
    _check_size(target, dependencies, core, functions.values())
    return Assets(
        dependencies_layer=dependencies.path,
        core_layer=core.path,
        functions=MappingProxyType({name: function.path for name, function in functions.items()}),
    )


def _dependencies(out_dir: Path, target: Target) -> Tree:
    return keep_tree(
        out_dir,
        f"dependencies-{target.name}",
        inputs=[*_RECIPE, repr(target).encode(), _LOCK.read_bytes()],
        fill=lambda tree: install_wheels(_LOCK, target=target, into=tree / "python"),
    )


def _function(out_dir: Path, name: str) -> Tree:
    source = _ROOT / "lambdas" / name
    if not (source / "handler.py").is_file():
        raise PackagingFailed(f"{source}: has no handler.py, so there is no function {name} to package")
    return _sources(out_dir, name, source)


def _sources(
    out_dir: Path, name: str, source: Path, *, below: Path = Path(), leave_out: Sequence[str] = ()
) -> Tree:
    files = [file for file in files_in(source) if is_source(file, within=source, leave_out=leave_out)]
    inputs = [part for file in files for part in (bytes(file.relative_to(source)), file.read_bytes())]
    return keep_tree(
        out_dir,
        name,
        inputs=[*_RECIPE, *inputs],
        fill=lambda tree: copy_files(files, source=source, destination=tree / below),
    )


def _check_size(target: Target, dependencies: Tree, core: Tree, functions: Collection[Tree]) -> None:
    largest = max(function.size_bytes for function in functions)
    unpacked_bytes = dependencies.size_bytes + core.size_bytes + largest
    parts = (f"dependencies {_mib(dependencies.size_bytes)}", f"core {_mib(core.size_bytes)}")
    said = f"{', '.join(parts)}, largest function {_mib(largest)}: {_mib(unpacked_bytes)} unpacked"
    limit = f"of {_mib(MAX_UNPACKED_BYTES)} allowed"
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise PackagingFailed(f"The assets for {target.name} are too large: {said} {limit}")
    digests = f"sha256 {dependencies.digest[:12]}, {core.digest[:12]}"
    sys.stderr.write(f"Assets for {target.name}: {said} {limit} ({digests})\n")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.2f} MiB"
