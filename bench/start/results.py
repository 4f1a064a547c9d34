"""What was measured, as values and as the JSON document `results.json`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One cold start."""

    pull_seconds: float
    """Until the program is started."""
    run_seconds: float
    """From then until it is ready."""
    bytes: int
    """Of answers, until it is ready."""
    requests: int

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.pull_seconds + self.run_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A workload started in one way over one line, several times."""

    workload: str
    way: str
    round_trip_ms: float
    bandwidth_mb_per_second: float
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def least_seconds(self) -> float:
        """The shortest start."""
        return min(run.seconds for run in self.runs)

    @property
    def most_seconds(self) -> float:
        """The longest start."""
        return max(run.seconds for run in self.runs)

    @property
    def middle(self) -> Run:
        """The medians of all fields."""
        return Run(
            pull_seconds=statistics.median(run.pull_seconds for run in self.runs),
            run_seconds=statistics.median(run.run_seconds for run in self.runs),
            bytes=round(statistics.median(run.bytes for run in self.runs)),
            requests=round(statistics.median(run.requests for run in self.runs)),
        )

    @property
    def line(self) -> tuple[float, float]:
        """Round trip and bandwidth."""
        return self.round_trip_ms, self.bandwidth_mb_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a start the prefetch of a profile covered, that was recorded on the build before."""

    files: int
    missing_files: int
    needed_bytes: int
    """Compressed bytes of the spans that the start needs, by a profile of this build."""
    covered_bytes: int
    """Those of them that the earlier build's profile had prefetched."""
    prefetched_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that was measured, and on what."""

    machine: Mapping[str, Any]
    images: Mapping[str, Any]
    """By workload: its layers, and what its start needs of them as the model takes it, for each way."""
    cells: tuple[Cell, ...]
    coverage: Coverage | None = None
    """Of the workload `python-next`: the Python image with the profile of the build before."""

    def find(self, workload: str, way: str, line: tuple[float, float]) -> Cell | None:
        """Return a cell, if it was measured."""
        found = (c for c in self.cells if (c.workload, c.way, c.line) == (workload, way, line))
        return next(found, None)

    @property
    def lines(self) -> list[tuple[float, float]]:
        """The lines in order: the longest round trip first, the narrowest first."""
        return sorted({cell.line for cell in self.cells}, key=lambda line: (-line[0], line[1]))

    @property
    def workloads(self) -> list[str]:
        """The workloads in the order in which they were measured."""
        return list(dict.fromkeys(cell.workload for cell in self.cells))

    @property
    def ways(self) -> list[str]:
        """The ways, likewise."""
        return list(dict.fromkeys(cell.way for cell in self.cells))

    def encode(self) -> str:
        """Return the JSON document: a line for each workload, then one for each cell."""
        coverage = None if self.coverage is None else asdict(self.coverage)
        images = (f"{json.dumps(name)}: {json.dumps(image)}" for name, image in self.images.items())
        parts = [
            f'"machine": {json.dumps(self.machine)}',
            f'"coverage": {json.dumps(coverage)}',
            '"images": {\n  ' + ",\n  ".join(images) + "\n }",
            '"cells": [\n  ' + ",\n  ".join(map(_encode_cell, self.cells)) + "\n ]",
        ]
        return "{\n " + ",\n ".join(parts) + "\n}\n"


def _encode_cell(cell: Cell) -> str:
    document = asdict(cell)
    document["runs"] = [
        [round(run.pull_seconds, 3), round(run.run_seconds, 3), run.bytes, run.requests] for run in cell.runs
    ]
    return json.dumps(document)


def parse_results(text: str) -> Results:
    """Read the JSON document."""
    document = json.loads(text)
    coverage = document["coverage"]
    return Results(
        machine=document["machine"],
        images=document["images"],
        coverage=None if coverage is None else Coverage(**coverage),
        cells=tuple(Cell(**{**cell, "runs": tuple(map(_run, cell["runs"]))}) for cell in document["cells"]),
    )


def _run(numbers: Sequence[Any]) -> Run:
    pull, run, bytes_, requests = numbers
    return Run(pull_seconds=pull, run_seconds=run, bytes=bytes_, requests=requests)


def collect(runs: Iterable[tuple[tuple[str, str, float, float], Run]]) -> tuple[Cell, ...]:
    """Put the runs of each workload, way and line together."""
    cells: dict[tuple[str, str, float, float], list[Run]] = {}
    for key, run in runs:
        cells.setdefault(key, []).append(run)
    return tuple(
        Cell(workload=name, way=way, round_trip_ms=rtt, bandwidth_mb_per_second=rate, runs=tuple(made))
        for (name, way, rtt, rate), made in cells.items()
    )
