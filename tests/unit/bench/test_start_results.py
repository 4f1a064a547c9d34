"""What is made of measured starts: the document, the tables, the picture, the errors of the model."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.start.error_table import errors_text
from bench.start.estimates import advice, error, estimated_seconds, program_seconds
from bench.start.fit import fit
from bench.start.measured import read_rows
from bench.start.plot import picture
from bench.start.results import Coverage, Results, Run, collect, parse_results
from bench.start.tables import console_tables, machine_text, page_tables
from bench.start.ways import LAZY, PREFETCH, PULL, START_FIRST
from soci.start.readers import MOUNT

LOAD = {
    "compressed_bytes": 100_000_000,
    "uncompressed_bytes": 300_000_000,
    "files": 1000,
    "ztoc_bytes": 1_000_000,
    "needed": [[number, 1_400_000, 4_194_304] for number in range(9)],
}
FACTS = {"loads": [LOAD], "program": {"seconds": 9.0, "files": 50}}
SECONDS = {PULL: (3.0, 0.5), LAZY: (1.0, 1.4), PREFETCH: (1.3, 0.6), START_FIRST: (1.2, 0.6)}


def run(pull_seconds, run_seconds):
    return Run(pull_seconds=pull_seconds, run_seconds=run_seconds, bytes=20_000_000, requests=12)


def results(seconds=None, lines=((20.0, 75.0), (1.0, 300.0)), load=0.3):
    taken = SECONDS if seconds is None else seconds
    runs = [
        (("one", way, *line), run(round(pull + late, 3), running))
        for line in lines
        for way, (pull, running) in taken.items()
        for late in (0.0, 0.2, 0.1)
    ]
    return Results(
        machine={
            "processors": 2,
            "model": "some",
            "memory_gib": 4,
            "system": "Linux 6",
            "python": "3",
            "load": load,
        },
        images={"one": {LAZY: FACTS, START_FIRST: FACTS}},
        cells=collect(runs),
        coverage=Coverage(
            files=10, missing_files=1, needed_bytes=1_000_000, covered_bytes=930_000, prefetched_bytes=990_000
        ),
    )


def test_a_cell_has_the_median_and_the_spread_of_its_runs():
    cell = results().find("one", LAZY, (20.0, 75.0))

    assert cell is not None
    assert (cell.least_seconds, cell.seconds, cell.most_seconds) == pytest.approx((2.4, 2.5, 2.6))
    assert cell.middle == run(pytest.approx(1.1), 1.4)


def test_the_document_holds_everything():
    measured = results()

    assert parse_results(measured.encode()) == measured


def test_the_tables_show_the_fastest_way_in_bold_and_the_coverage():
    text = page_tables(results())

    row = next(line for line in text.splitlines() if line.startswith("| one | 3.60"))
    assert "**1.90** = 1.30 + 0.60 (1.80 to 2.00)" in row
    assert row.count("**") == 2
    assert "covered 93.0% of the 1 MB" in text
    assert [table.row_count for table in console_tables(results())] == [1, 1]


def test_a_way_that_was_not_measured_is_a_dash():
    only_lazy = results({LAZY: (1.0, 1.4)}, lines=((1.0, 75.0),))

    assert "| one | - | **2.50**" in page_tables(only_lazy)
    assert list(advice(only_lazy)) == []


def test_the_picture_has_a_panel_for_each_line_and_two_parts_for_each_bar():
    root = ET.fromstring(picture(results()))  # noqa: S314 - our own text

    space = "{http://www.w3.org/2000/svg}"
    panels = root.findall(f"{space}g")
    assert len(panels) == 2
    assert [len(panel.findall(f"{space}rect")) for panel in panels] == [2 * len(SECONDS)] * 2


def test_the_program_takes_what_its_pulled_start_runs():
    assert program_seconds(results(), "one") == 0.5
    assert program_seconds(results({LAZY: (1.0, 1.4)}), "one") == 9.0


def test_an_error_compares_the_estimate_with_the_median():
    measured = results()

    for cell in measured.cells:
        assert error(measured, cell) == pytest.approx(estimated_seconds(measured, cell) / cell.seconds - 1)


def test_advice_is_right_if_its_way_is_as_good_as_the_fastest():
    assert {one.way for one in advice(results())} == {PREFETCH}
    assert all(one.is_right for one in advice(results()))

    pull_wins = list(advice(results({**SECONDS, PULL: (0.2, 0.5)})))

    assert {(one.way, one.fastest, one.is_right) for one in pull_wins} == {(PREFETCH, PULL, False)}
    assert "fastest pull and unpack" in errors_text(results({**SECONDS, PULL: (0.2, 0.5)}))


def test_constants_can_be_fitted_to_the_results(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(results().encode())

    rows = read_rows(path)
    fitted = fit(rows, MOUNT)

    assert len(rows) == len(results().cells)
    assert sum(abs(row.error(fitted)) for row in rows) < sum(abs(row.error(MOUNT)) for row in rows)


def test_a_busy_machine_is_told():
    assert machine_text(results()).endswith("Python 3; 3 cold starts of each cell, in turns.")
    assert "**A trial: others used the machine** (load 7.5)" in machine_text(results(load=7.5))
