"""The errors of the model in our mount, as the Markdown of docs/start.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.start.estimates import AS_GOOD, Advised, advice, error, estimated_seconds
from bench.start.results import Cell, Results
from bench.start.tables import line_text, markdown, what_text
from bench.start.ways import LABELS


def errors_text(results: Results) -> str:
    """Return the errors of all cells, and what the advice is worth."""
    cells = [cell for cell in results.cells if cell.workload in results.images]
    sizes = [abs(error(results, cell)) for cell in cells]
    given = list(advice(results))
    right = sum(one.is_right for one in given)
    head = (
        f"**The model against these starts**: estimate, and its error against the median. Half of the {len(cells)} "
        f"errors are below {statistics.median(sizes):.0%}, nine tenths below {_quantile(sizes, 0.9):.0%}; the "
        f"largest is {max(sizes):.0%}. The program's own time is that of the "
        "pulled starts, as `--run-seconds` would give it."
    )
    tail = (
        f"**The advice** is the way of the least estimate among pulling, lazy and prefetch. It is right where that way "
        f"takes at most {AS_GOOD - 1:.0%} longer than the fastest of them: for {right} of {len(given)} starts."
    )
    return "\n\n".join([head, _errors(results), tail, *_wrong(given)])


def _errors(results: Results) -> str:
    rows = [["start, line", *(LABELS[way] for way in results.ways)]]
    for workload in results.images:
        for line in results.lines:
            cells = [results.find(workload, way, line) for way in results.ways]
            rows.append(
                [f"{what_text(workload)}, {line_text(line)}", *(_cell(results, cell) for cell in cells)]
            )
    return markdown(rows)


def _cell(results: Results, cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{estimated_seconds(results, cell):.2f} s, {error(results, cell):+.0%}"


def _wrong(given: list[Advised]) -> Iterator[str]:
    wrong = [one for one in given if not one.is_right]
    if wrong:
        yield "\n".join(
            f"- {what_text(one.workload)}, {line_text(one.line)}: advised {LABELS[one.way]} ({one.seconds:.2f} s), "
            f"fastest {LABELS[one.fastest]} ({one.fastest_seconds:.2f} s)."
            for one in wrong
        )


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
