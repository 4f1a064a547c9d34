"""The measured starts: the page and the picture are those of the results."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from bench.start.estimates import ADVISED, advice, error, rows_of
from bench.start.ways import WAYS
from bench.start.workloads import WORKLOADS
from docs.generate.start_measured import START_PAGE, START_PICTURE, results, start_picture, with_measured
from soci.start.readers import MOUNT

RESULTS = results()
LINES = [(20.0, 75.0), (20.0, 300.0), (1.0, 75.0), (1.0, 300.0)]


def test_the_page_has_the_tables_of_the_results():
    text = START_PAGE.read_text()

    assert with_measured(text, RESULTS) == text, "run `make docs`"


def test_a_text_without_markers_is_refused():
    with pytest.raises(ValueError, match="no <!-- measured -->"):
        with_measured("no table here", RESULTS)


def test_the_picture_is_that_of_the_results_and_takes_nothing_from_elsewhere():
    text = START_PICTURE.read_text()

    assert start_picture(RESULTS) == text, "run `make docs`"
    ET.fromstring(text)  # noqa: S314 - our own file
    assert re.findall(r"url\(|href|<script|@import|@font-face", text) == []
    assert "prefers-color-scheme: dark" in text


def test_every_workload_was_measured_in_every_way_on_each_line():
    assert set(RESULTS.lines) <= set(LINES)
    for workload in WORKLOADS:
        for way in WAYS:
            for line in RESULTS.lines:
                cell = RESULTS.find(workload.name, way, line)
                assert cell is not None
                assert cell.runs


def test_the_advice_is_compared_for_every_start():
    given = list(advice(RESULTS))

    assert len(given) == len(WORKLOADS) * len(RESULTS.lines)
    assert all(one.way in ADVISED and one.fastest_seconds <= one.seconds for one in given)


def test_rows_for_the_fit_have_the_layers_and_the_times_of_their_cells():
    cells = [cell for cell in RESULTS.cells if cell.workload in RESULTS.images]

    for row, cell in zip(rows_of(RESULTS), cells, strict=True):
        assert row.seconds == (cell.least_seconds, cell.most_seconds)
        assert row.estimate(MOUNT).seconds / cell.seconds - 1 == pytest.approx(error(RESULTS, cell))


def test_no_name_of_a_host_is_in_the_results():
    assert set(RESULTS.machine) == {"processors", "model", "memory_gib", "system", "python", "load"}
