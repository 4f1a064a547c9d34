"""The measured starts as a picture: a panel for each line, a group of bars for each workload, a bar for each way.

The solid part of a bar is the pull, the faint part the run; the whisker goes from the shortest to the longest start.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from bench.start.results import Cell, Results
from bench.start.tables import line_text
from bench.start.ways import LABELS

_PANEL_WIDTH = 470
_LEFT = 84
_BAR = 11
_GROUP_GAP = 12
_TOP = 58
_PANEL_TITLE = 26
_PANEL_GAP = 34
_NUMBER_WIDTH = 46
_STYLE = """\
text { font: 12px sans-serif; fill: #24292f }
.small { font-size: 10px }
.title { font-weight: bold }
.axis, .spread { stroke: #57606a; stroke-width: 1 }
.run { fill-opacity: 0.45 }
.pull { fill: #6e7781 } .lazy { fill: #bc4c00 } .prefetch { fill: #0969da } .start-first { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.axis, .spread { stroke: #9198a1 }
.pull { fill: #9198a1 } .lazy { fill: #f0883e } .prefetch { fill: #58a6ff } .start-first { fill: #3fb950 }
}"""


def picture(results: Results) -> str:
    """Return the picture as SVG: no script, no font, nothing from elsewhere."""
    lines = results.lines
    names = [
        name for name in results.workloads if all(results.find(name, way, lines[0]) for way in results.ways)
    ]
    names = [name for name in names if all(results.find(name, results.ways[0], line) for line in lines)]
    panel = _PANEL_TITLE + len(names) * (len(results.ways) * _BAR + _GROUP_GAP) + _PANEL_GAP
    width, height = 2 * _PANEL_WIDTH, _TOP + -(-len(lines) // 2) * panel
    shapes = [*_legend(results)]
    for number, line in enumerate(lines):
        x, y = number % 2 * _PANEL_WIDTH, _TOP + number // 2 * panel
        shapes += [f"<g transform='translate({x} {y})'>", *_panel(results, names, line), "</g>"]
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    return "\n".join(
        [
            f"{head} role='img'>",
            "<title>Seconds from nothing to ready, by each way to load the image</title>",
            f"<style>\n{_STYLE}\n</style>",
            *shapes,
            "</svg>\n",
        ]
    )


def _legend(results: Results) -> Iterator[str]:
    title = "Seconds from nothing to ready: medians, with the shortest and the longest"
    yield f"<text class='title' x='{_LEFT}' y='16'>{title}</text>"
    x = _LEFT
    for way in results.ways:
        yield f"<rect class='{way}' x='{x}' y='26' width='12' height='12'/>"
        yield f"<text x='{x + 18}' y='36'>{escape(LABELS[way])}</text>"
        x += 40 + 7 * len(LABELS[way])
    yield f"<text class='small' x='{x}' y='36'>solid: pull, faint: run</text>"


def _panel(results: Results, names: list[str], line: tuple[float, float]) -> Iterator[str]:
    yield f"<text class='title' x='{_LEFT}' y='14'>{line_text(line)}</text>"
    longest = max(cell.most_seconds for cell in results.cells if cell.workload in names)
    scale = (_PANEL_WIDTH - _LEFT - _NUMBER_WIDTH) / longest  # the same in all panels
    y = _PANEL_TITLE
    for name in names:
        middle = y + len(results.ways) * _BAR / 2 + 4
        yield f"<text x='{_LEFT - 8}' y='{middle:g}' text-anchor='end'>{escape(name)}</text>"
        for way in results.ways:
            cell = results.find(name, way, line)
            if cell is not None:
                yield from _bar(cell, y, scale)
            y += _BAR
        y += _GROUP_GAP
    yield f"<path class='axis' d='M{_LEFT} {_PANEL_TITLE - 4} V{y - _GROUP_GAP + 4}'/>"


def _bar(cell: Cell, y: float, scale: float) -> Iterator[str]:
    pull, run = cell.middle.pull_seconds * scale, (cell.seconds - cell.middle.pull_seconds) * scale
    height, centre = _BAR - 2, y + (_BAR - 2) / 2
    box = f"y='{y}' height='{height}'"
    yield f"<rect class='{cell.way}' x='{_LEFT}' {box} width='{pull:.1f}'/>"
    yield f"<rect class='{cell.way} run' x='{_LEFT + pull:.1f}' {box} width='{max(run, 0):.1f}'/>"
    least, most = (_LEFT + seconds * scale for seconds in (cell.least_seconds, cell.most_seconds))
    yield f"<path class='spread' d='M{least:.1f} {centre:g} H{most:.1f}'/>"
    yield f"<text class='small' x='{most + 5:.1f}' y='{y + height:g}'>{cell.seconds:.2f}</text>"
