"""Measured starts, and what the model says of them.

    {"what": TEXT, "assumed": TEXT, "reader": NAME,
     "starts": {NAME: {"program_seconds": ..., "files": ..., "layers": [{..., "needed": [...]}]}},
     "rows": [{"start": NAME, "way": "lazy", "round_trip_seconds": ..., "bandwidth_bytes_per_second": ...,
               "pull_seconds": [FASTEST, SLOWEST], "run_seconds": [...], "seconds": [...],
               "bytes": ..., "requests": ...}]}

The layers of a start are those of `profile show --json`. Spans that are alike may stand once with a `count`; `step` is
the distance of their numbers. Where only `seconds` was measured, pull and run are absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.start.results import parse_results
from soci.start.model import Estimate, LayerLoad, NeededSpan, Program, Way, estimate
from soci.start.readers import Network, Reader

Document = Mapping[str, Any]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A measured start. Times are the fastest and the slowest run."""

    start: str
    way: Way
    layers: tuple[LayerLoad, ...]
    program: Program
    network: Network
    pull_seconds: Range | None
    run_seconds: Range | None
    seconds: Range

    def estimate(self, reader: Reader) -> Estimate:
        """Return what the model says."""
        return estimate(self.way, self.layers, self.program, self.network, reader)

    def error(self, reader: Reader) -> float:
        """Return how much longer the model's time is than the middle of what was measured: 0.1 is 10 percent."""
        return self.estimate(reader).seconds / middle(self.seconds) - 1


def read_rows(path: Path) -> tuple[Row, ...]:
    """Read a file of measured starts, of this form or the results of `make bench-start`."""
    document = json.loads(path.read_text())
    if "cells" in document:
        from bench.start.estimates import rows_of  # noqa: PLC0415 - it needs the rows of this module

        return rows_of(parse_results(path.read_text()))
    return tuple(_row(document, row) for row in document["rows"])


def middle(of: Range) -> float:
    """Return the middle of a range."""
    return (of[0] + of[1]) / 2


def _row(document: Document, row: Document) -> Row:
    start = document["starts"][row["start"]]
    return Row(
        start=row["start"],
        way=Way(row["way"]),
        layers=tuple(map(_layer, start["layers"])),
        program=Program(seconds=start["program_seconds"], files=start["files"]),
        network=Network(
            round_trip_seconds=row["round_trip_seconds"],
            bandwidth_bytes_per_second=row["bandwidth_bytes_per_second"],
        ),
        pull_seconds=_range(row.get("pull_seconds")),
        run_seconds=_range(row.get("run_seconds")),
        seconds=_range(row["seconds"]) or (0, 0),
    )


def _range(values: list[float] | None) -> Range | None:
    return None if values is None else (min(values), max(values))


def _layer(layer: Document) -> LayerLoad:
    return LayerLoad(
        compressed_bytes=layer["compressed_bytes"],
        uncompressed_bytes=layer["uncompressed_bytes"],
        files=layer["files"],
        ztoc_bytes=layer["ztoc_bytes"],
        needed=tuple(span for one in layer["needed"] for span in _spans(one)),
    )


def _spans(one: Document) -> Iterator[NeededSpan]:
    for number in range(one.get("count", 1)):
        yield NeededSpan(
            number=one["span"] + number * one.get("step", 1),
            compressed_bytes=one["compressed_bytes"],
            uncompressed_bytes=one["uncompressed_bytes"],
        )
