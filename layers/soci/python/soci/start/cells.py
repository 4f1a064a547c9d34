"""The layers of an image as rows of cells: the spans by their bytes, and when a start first needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soci.start.loads import LayerShape
from soci.start.needs import SpanNeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One span, or several neighbouring ones."""

    start: float
    end: float
    """In bytes of the compressed layer."""
    first_span: int
    last_span: int
    first_ms: int | None
    """When the first of them is needed; None if the start needs none."""


def span_cells(layer: LayerShape, needs: Iterable[SpanNeed]) -> tuple[Cell, ...]:
    """Return a cell for each span of a layer; none for a layer without a zTOC. `needs` are those of the layer."""
    first = {need.span: need.first_ms for need in needs}
    return tuple(
        Cell(start=span.start, end=span.end, first_span=at, last_span=at, first_ms=first.get(at))
        for at, span in enumerate(layer.spans or ())
    )


def group_cells(cells: Sequence[Cell], count: int) -> tuple[Cell, ...]:
    """Return so many cells of even size. Each shows the earliest need of the spans that lie in it.

    A span lies in a cell if half of it does, or if it fills half of the cell. So each span lies in one at least.
    """
    if not cells:
        return ()
    size = cells[-1].end / count
    grouped = []
    at = 0
    for number in range(count):
        start, end = number * size, (number + 1) * size
        while at < len(cells) - 1 and cells[at].end <= start:
            at += 1
        behind = at + 1
        while behind < len(cells) and cells[behind].start < end:
            behind += 1
        grouped.append(_joined(cells[at:behind], start, end))
    return tuple(grouped)


def _joined(touched: Sequence[Cell], start: float, end: float) -> Cell:
    times = [
        cell.first_ms
        for cell in touched
        if cell.first_ms is not None
        and 2 * (min(cell.end, end) - max(cell.start, start)) >= min(cell.end - cell.start, end - start)
    ]
    return Cell(
        start=start,
        end=end,
        first_span=touched[0].first_span,
        last_span=touched[-1].last_span,
        first_ms=min(times, default=None),
    )
