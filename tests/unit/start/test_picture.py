from __future__ import annotations

from itertools import pairwise

import pytest

from soci.start.cells import Cell, group_cells, span_cells
from soci.start.picture import BARS, DIGITS, draw_layers, draw_legend, in_ascii
from soci.start.steps import MAX_STEPS, plan_steps
from tests.builders import file, noise
from tests.unit.start.starts import SPAN, read, report_of

LAYER = [file("a", noise(4 * SPAN - 512)), file("b", noise(4 * SPAN - 1536))]
"""Eight spans. Each file has four, its header with it."""


def test_times_are_cut_into_steps_with_about_as_many_spans_each():
    steps = plan_steps([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 900, 1000])

    assert steps.starts_ms == (0, 2, 4, 6, 8, 900)
    assert [steps.step_of(ms) for ms in (0, 1, 2, 899, 900, 5000)] == [0, 0, 1, 4, 5, 5]
    assert [steps.interval_text(step) for step in (0, 4, 5)] == [
        "0 to 1 ms",
        "8 to 899 ms",
        "900 to 1,000 ms",
    ]


def test_equal_times_are_one_step_and_no_times_are_none():
    assert plan_steps([7, 7, 7]).starts_ms == (7,)
    assert plan_steps([7, 7, 7]).interval_text(0) == "7 ms"
    assert plan_steps([]).starts_ms == ()


def test_each_step_has_a_bar_and_a_digit():
    assert len(BARS) == len(DIGITS) == MAX_STEPS


def test_a_layer_is_a_row_of_its_spans_and_the_earliest_need_has_the_highest_bar():
    report = report_of([read("/a", (0, 9, 5), (2 * SPAN, 2 * SPAN + 9, 90)), read("/b", (0, 9, 9))], LAYER)

    (row,) = draw_layers(report.start.layers, report.start.needs.spans, report.steps, width=8)

    assert row == "█·▅·▇···"
    assert draw_legend(report.steps) == ["█ 5 to 8 ms", "▇ 9 to 89 ms", "▅ 90 ms"]
    assert in_ascii(row) == "1.3.2..."


def test_layers_have_one_scale_and_a_layer_without_a_ztoc_is_drawn_whole():
    small = [file("c", noise(SPAN))]
    report = report_of([read("/a")], LAYER, small, [file("d", b"d")], without_ztoc=(1,))

    rows = draw_layers(report.start.layers, report.start.needs.spans, report.steps, width=20)

    assert [len(row) for row in rows] == [20, 3, 1]
    assert rows[1] == "==="


def test_an_image_without_layers_has_no_rows():
    report = report_of([read("/a")])

    assert draw_layers(report.start.layers, (), report.steps, width=20) == []


def cell(number: int, start: int, end: int, first_ms: int | None = None) -> Cell:
    return Cell(start=start, end=end, first_span=number, last_span=number, first_ms=first_ms)


def test_a_group_shows_the_earliest_need_of_the_spans_it_touches():
    cells = (cell(0, 0, 10, 7), cell(1, 10, 30, 3), cell(2, 30, 40), cell(3, 40, 80))

    grouped = group_cells(cells, 4)

    assert [(one.first_span, one.last_span, one.first_ms) for one in grouped] == [
        (0, 1, 3),
        (1, 2, 3),
        (3, 3, None),
        (3, 3, None),
    ]
    assert grouped[-1].end == 80


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11, 23])
def test_a_needed_span_is_seen_however_few_cells_there_are(count):
    for needed in range(8):
        sizes = [3, 1, 9, 2, 2, 30, 1, 5]
        ends = [sum(sizes[: at + 1]) for at in range(8)]
        cells = [cell(at, end - sizes[at], end, 1 if at == needed else None) for at, end in enumerate(ends)]

        shown = [one for one in group_cells(cells, count) if one.first_ms is not None]

        assert shown
        assert all(one.first_span <= needed <= one.last_span for one in shown)


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_groups_cover_a_layer_without_gaps(count):
    report = report_of([], LAYER)
    cells = span_cells(report.start.layers[0], ())

    grouped = group_cells(cells, count)

    assert len(grouped) == count
    assert all(before.end == after.start for before, after in pairwise(grouped))
    assert grouped[-1].last_span == len(cells) - 1
    assert group_cells((), count) == ()
