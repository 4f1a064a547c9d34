"""The model of `soci.start` against the measured starts: the error of each cell, and what the advice is worth."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.start.measured import Row
from bench.start.results import Cell, Results
from bench.start.ways import LAZY, PREFETCH, PULL, START_FIRST
from soci.start.model import LayerLoad, NeededSpan, Program, Way
from soci.start.readers import MOUNT, Network, Reader

MODEL_WAYS = {PULL: Way.NO_INDEX, LAZY: Way.LAZY, PREFETCH: Way.PREFETCH, START_FIRST: Way.PREFETCH}
"""What the model calls our ways. `start-first` is a prefetch of layers in another order."""

ADVISED = (PULL, LAZY, PREFETCH)
"""`advise` chooses among these for an image as it is."""

AS_GOOD = 1.1
"""Advice is right if its way takes at most so many times what the fastest takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """What the model advises for a workload on a line, and what that was measured to take."""

    workload: str
    line: tuple[float, float]
    way: str
    seconds: float
    fastest: str
    fastest_seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the advised way is as good as the fastest."""
        return self.seconds <= AS_GOOD * self.fastest_seconds


def rows_of(results: Results) -> tuple[Row, ...]:
    """Return the cells whose images are described, as the model and its fit take them."""
    return tuple(row_of(results, cell) for cell in results.cells if cell.workload in results.images)


def row_of(results: Results, cell: Cell) -> Row:
    """Return a cell as a row: its layers as they are for its way."""
    facts = results.images[cell.workload][START_FIRST if cell.way == START_FIRST else LAZY]
    pulls, runs = [run.pull_seconds for run in cell.runs], [run.run_seconds for run in cell.runs]
    return Row(
        start=cell.workload,
        way=MODEL_WAYS[cell.way],
        layers=tuple(map(_load, facts["loads"])),
        program=Program(seconds=program_seconds(results, cell.workload), files=facts["program"]["files"]),
        network=Network(
            round_trip_seconds=cell.round_trip_ms / 1e3,
            bandwidth_bytes_per_second=cell.bandwidth_mb_per_second * 1e6,
        ),
        pull_seconds=(min(pulls), max(pulls)),
        run_seconds=(min(runs), max(runs)),
        seconds=(cell.least_seconds, cell.most_seconds),
    )


def program_seconds(results: Results, workload: str) -> float:
    """Return what a program takes by itself: its run when all its files are unpacked, in the median.

    Its profile says the same less exactly, and is taken where nothing was pulled.
    """
    runs = [
        run.run_seconds
        for cell in results.cells
        if (cell.workload, cell.way) == (workload, PULL)
        for run in cell.runs
    ]
    return statistics.median(runs) if runs else float(results.images[workload][LAZY]["program"]["seconds"])


def _load(document: Mapping[str, Any]) -> LayerLoad:
    needed = tuple(
        NeededSpan(number=number, compressed_bytes=compressed, uncompressed_bytes=uncompressed)
        for number, compressed, uncompressed in document["needed"]
    )
    return LayerLoad(**{**document, "needed": needed})


def estimated_seconds(results: Results, cell: Cell, reader: Reader = MOUNT) -> float:
    """Return what the model says a cell takes."""
    return row_of(results, cell).estimate(reader).seconds


def error(results: Results, cell: Cell, reader: Reader = MOUNT) -> float:
    """Return how much longer the model's time is than the median: 0.1 is 10 percent."""
    return estimated_seconds(results, cell, reader) / cell.seconds - 1


def advice(results: Results, reader: Reader = MOUNT) -> Iterator[Advised]:
    """Yield the advice for each workload on each line, beside what was measured."""
    for line in results.lines:
        for workload in results.images:
            cells = [cell for way in ADVISED if (cell := results.find(workload, way, line))]
            if len(cells) < len(ADVISED):
                continue
            advised = min(cells, key=lambda cell: estimated_seconds(results, cell, reader))
            fastest = min(cells, key=lambda cell: cell.seconds)
            yield Advised(
                workload=workload,
                line=line,
                way=advised.way,
                seconds=advised.seconds,
                fastest=fastest.way,
                fastest_seconds=fastest.seconds,
            )
