"""`make mutants MODULE=soci.build.plan` lists small changes of a module that its tests miss.

Each change (`bench/changes.py`) is made in a copy of the core, one at a time, and the tests run on the copy: first the
file that mirrors the module, then the folder of that file, then the tests given by `--also`. A change that all of them
pass has survived: a test is missing, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from bench.changes import Change, find_changes

ROOT = Path(__file__).parent.parent
CORE = ROOT / "layers/soci/python"
TESTS = ROOT / "tests/unit"
LIMIT_FACTOR, LIMIT_SECONDS = 4, 20
"""A run may take this many times as long as without a change, and this much longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A change of one module."""

    path: Path
    change: Change

    def __str__(self) -> str:
        return f"{self.path.relative_to(CORE)} {self.change.describe(self.path.read_bytes())}"


class Copy:
    """A copy of the core in a folder of its own. Tests that run here import it in place of the core."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(CORE, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        compileall.compile_dir(folder, quiet=1)

    def first_failure(self, mutant: Mutant, tests: list[tuple[Path, ...]], limits: dict[Path, float]) -> str:
        """Return the test that fails first with a change, or nothing."""
        path = self._folder / mutant.path.relative_to(CORE)
        original = path.read_bytes()
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
        path.write_bytes(mutant.change.apply(original))
        try:
            for paths in tests:
                limit = sum(limits[path] for path in paths)
                if failure := self.run(paths, limit_seconds=limit):
                    return failure
        finally:
            path.write_bytes(original)
        return ""

    def run(self, tests: tuple[Path, ...], *, limit_seconds: float | None = None) -> str:
        """Run tests until one fails; return its name, or nothing if all pass."""
        options = ["-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *map(str, tests)],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit_seconds)
            except subprocess.TimeoutExpired:
                return "the time limit"
            finally:
                with suppress(ProcessLookupError):  # what the tests have started ends with them
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode == 0:
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+(?: [^-]\S*)*)", output, re.MULTILINE)
        return failed[1] if failed else "an error outside of tests"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("module", nargs="+", help="soci.build.plan, or a package: soci.build")
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="further tests, for what survives")
    parser.add_argument("--sample", type=int, help="try this many changes only, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="another number chooses another sample")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--list", action="store_true", help="list the changes and run nothing")
    arguments = parser.parse_args()
    mutants = [mutant for name in arguments.module for mutant in mutants_of(name)]
    if arguments.sample is not None:
        chosen = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))  # noqa: S311 - no secret
        mutants = [mutant for mutant in mutants if mutant in chosen]
    if arguments.list:
        print(*mutants, sep="\n")
        return
    survivors = 0
    for mutant, failure in try_all(mutants, also=tuple(arguments.also), jobs=arguments.jobs):
        survivors += not failure
        print(f"{'killed  ' if failure else 'SURVIVED'} {mutant}  {failure}", flush=True)
    print(f"{len(mutants)} changes, {survivors} survived")


def mutants_of(name: str) -> Iterator[Mutant]:
    """Yield all changes of a module, or of all modules of a package.

    Raises:
        SystemExit: there is no such module.
    """
    path = CORE.joinpath(*name.split("."))
    paths = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.rglob("*.py"))
    if not paths:
        raise SystemExit(f"no module {name} in {CORE.relative_to(ROOT)}")
    for path in paths:
        yield from (Mutant(path=path, change=change) for change in find_changes(path.read_bytes()))


def tests_of(path: Path) -> list[Path]:
    """Return the test file that mirrors a module, and its folder: those that exist."""
    relative = path.relative_to(CORE / "soci")
    folder = TESTS / relative.parent
    while not folder.exists():
        folder = folder.parent
    return [test for test in (folder / f"test_{relative.name}", folder) if test.exists()]


def try_all(mutants: list[Mutant], *, also: tuple[Path, ...], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Yield each change with the name of the test that fails; nothing for a survivor.

    Raises:
        SystemExit: a test fails without any change.
    """
    copies: SimpleQueue[Copy] = SimpleQueue()

    def attempt(mutant: Mutant) -> str:
        copy = copies.get()
        try:
            steps = [*((test,) for test in tests_of(mutant.path)), *([also] if also else [])]
            return copy.first_failure(mutant, steps, limits)
        finally:
            copies.put(copy)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        first = Copy(Path(folder, "0"))
        limits = _time_limits(first, {*also, *(test for mutant in mutants for test in tests_of(mutant.path))})
        for copy in (first, *(Copy(Path(folder, str(number))) for number in range(1, jobs))):
            copies.put(copy)
        yield from zip(mutants, pool.map(attempt, mutants), strict=True)


def _time_limits(copy: Copy, tests: set[Path]) -> dict[Path, float]:
    limits = {}
    for test in sorted(tests):
        started = time.perf_counter()
        if failure := copy.run((test,)):
            raise SystemExit(f"fails without any change: {failure}")
        limits[test] = (time.perf_counter() - started) * LIMIT_FACTOR + LIMIT_SECONDS
    return limits


if __name__ == "__main__":
    main()
