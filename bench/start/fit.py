"""Find a reader's constants from measured starts: `python -m bench.start.fit bench/start/snapshotter.json`.

Each constant is changed by a factor as long as that makes the errors smaller, then by a smaller factor. An error is
the logarithm of estimated over measured: of the pull and of the run where both were measured, else of the whole.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.start.measured import Row, middle, read_rows
from soci.start.readers import READERS, Reader

CONSTANTS = (
    *("setup_seconds", "unpack_bytes_per_second", "span_bytes_per_second", "prefetched_bytes_per_second"),
    "file_seconds",
)
"""What is fitted. The others are settings of the reader, or were measured by themselves."""

_LEAST_SECONDS = 0.3
"""Shorter times count as this long: their errors are those of the clock, and of what starts a process."""

_FIRST_FACTOR = 2.0
_LAST_FACTOR = 1.002


def main() -> None:
    """Print the constants and the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="measured starts, see bench/start/measured.py")
    parser.add_argument("--reader", choices=READERS, default="snapshotter")
    arguments = parser.parse_args()
    rows, before = read_rows(arguments.file), READERS[arguments.reader]
    fitted = fit(rows, before)
    for name in CONSTANTS:
        print(f"{name:30} {getattr(before, name):12.4g} -> {getattr(fitted, name):12.4g}")
    for row in rows:
        made = row.estimate(fitted)
        fastest, slowest = row.seconds
        print(
            f"{row.start:20} {row.way:10} {row.network!s:22} measured {fastest:5.1f} to {slowest:5.1f} s, ",
            end="",
        )
        print(f"estimated {made.pull_seconds:5.1f} + {made.run_seconds:5.1f} s, {row.error(fitted):+.0%}")


def fit(rows: Sequence[Row], reader: Reader) -> Reader:
    """Return the reader with the constants that fit best. A constant of 0 stays 0."""
    best, least = reader, squared_errors(rows, reader)
    factor = _FIRST_FACTOR
    while factor > _LAST_FACTOR:
        better = False
        for name in CONSTANTS:
            for change in (factor, 1 / factor):
                tried = replace(best, **{name: getattr(best, name) * change})
                error = squared_errors(rows, tried)
                if error < least:
                    best, least, better = tried, error, True
        if not better:
            factor = math.sqrt(factor)
    return best


def squared_errors(rows: Sequence[Row], reader: Reader) -> float:
    """Return the sum of the squared errors of all rows."""
    return sum(error * error for row in rows for error in _errors(row, reader))


def _errors(row: Row, reader: Reader) -> Iterator[float]:
    made = row.estimate(reader)
    if row.pull_seconds is None or row.run_seconds is None:
        yield _error(made.seconds, middle(row.seconds))
        return
    yield _error(made.pull_seconds, middle(row.pull_seconds))
    yield _error(made.run_seconds, middle(row.run_seconds))


def _error(estimated: float, measured: float) -> float:
    return math.log(max(estimated, _LEAST_SECONDS) / max(measured, _LEAST_SECONDS))


if __name__ == "__main__":
    main()
