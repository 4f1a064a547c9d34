"""The page on the start: its constants are those of the model, its errors those against the measured starts."""

from __future__ import annotations

import re

import pytest

from bench.start.measured import Row, read_rows
from soci.start.readers import READERS, SNAPSHOTTER
from tests.docs.manual import DOCS, ROOT

PAGE = (DOCS / "start.md").read_text()
ROWS = read_rows(ROOT / "bench/start/snapshotter.json")
UNITS = {"MB/s": 1e6, "MB": 1e6, "ms": 1e-3, "": 1.0}


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quantity(text: str) -> float:
    number, _, unit = text.partition(" ")
    return float(number) * UNITS[unit]


def test_the_page_has_the_constants_of_the_model():
    shown = {row[0].strip("`"): row[1:3] for row in table("The constants")}

    for name, cells in shown.items():
        values = [getattr(reader, name) for reader in READERS.values()]
        assert [quantity(cell) for cell in cells] == pytest.approx(values, rel=0.01), name
    fields = set(SNAPSHOTTER.__dataclass_fields__) - {"name", "unpacks_while_downloading"}
    assert set(shown) == fields


def range_text(values: tuple[float, float], unit: str = "") -> str:
    low, high = values
    return f"{low:.1f}{unit}" if low == high else f"{low:.1f} to {high:.1f}{unit}"


def shown_row(row: Row) -> list[str]:
    parts = "-"
    if row.pull_seconds and row.run_seconds:
        parts = f"{range_text(row.pull_seconds)} + {range_text(row.run_seconds, ' s')}"
    error = f"{100 * row.error(SNAPSHOTTER):+.0f} %"
    return [
        f"{row.start}, {row.way}",
        parts,
        range_text(row.seconds, " s"),
        f"{row.estimate(SNAPSHOTTER).seconds:.1f} s",
        "0 %" if error in {"+0 %", "-0 %"} else error,
    ]


def test_the_page_has_the_error_of_each_measured_start():
    assert table("The errors") == [shown_row(row) for row in ROWS]


def test_no_error_is_larger_than_the_page_says():
    bound = re.search(r"\*\*The largest error is (\d+) %\*\*", PAGE)

    assert bound
    assert max(abs(row.error(SNAPSHOTTER)) for row in ROWS) == pytest.approx(int(bound[1]) / 100, abs=0.005)


def test_the_order_of_the_measured_ways_is_that_of_the_model():
    rows = [row for row in ROWS if row.start.startswith("4 MiB")]

    measured = sorted(rows, key=lambda row: sum(row.seconds))
    estimated = sorted(rows, key=lambda row: row.estimate(SNAPSHOTTER).seconds)

    assert measured == estimated
