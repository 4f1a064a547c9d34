"""The layers of an image as rows of bars, for the report's page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from soci.start.cells import Cell, group_cells, span_cells
from soci.start.loads import group_by_layer
from soci.start.quantities import mb_text, of_text
from soci.start.start_report import StartReport
from soci.start.steps import MAX_STEPS

MAX_CELLS = 4_000
"""Of all layers. More would be thinner than what a screen or a printer shows."""
MAX_CELLS_OF_LAYER = 600
MAX_LAYERS = 200

_WIDTH = 1_000
_HEIGHT = 100
_LEAST_WIDTH_PERCENT = 1.5
_NOT_NEEDED_HEIGHT = 8
_CELLS_WITH_GAPS = 80
_GAP = 0.08


def layer_rows(report: StartReport) -> Iterator[str]:
    """Yield the HTML of each layer. All layers have one scale; the earlier a span is needed, the higher its bar."""
    layers = report.start.layers
    largest = max((layer.compressed_bytes for layer in layers), default=0) or 1
    limit = max(1, min(MAX_CELLS_OF_LAYER, MAX_CELLS // max(1, len(layers))))
    grouped = group_by_layer(report.start.needs.spans)
    for number, layer in enumerate(layers[:MAX_LAYERS]):
        digest = str(report.start.digests[number])
        load = report.start.loads[number]
        if layer.spans:
            facts = f"{len(load.needed):,} of {len(layer.spans):,} spans needed, "
            facts += of_text(load.needed_bytes, layer.compressed_bytes)
        else:
            facts = f"no zTOC: loaded whole, {mb_text(layer.compressed_bytes)}"
        label = escape(f"Layer {number}: {facts}")
        width = max(_LEAST_WIDTH_PERCENT, 100 * layer.compressed_bytes / largest)
        yield (
            f"<h3>Layer {number} <span>{facts} "
            f'<code title="{escape(digest)}">{escape(digest[:19])}</code></span></h3>\n'
            f'<svg class="layer" style="width:{width:.2f}%" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'preserveAspectRatio="none" role="img" aria-label="{label}">'
        )
        cells = span_cells(layer, grouped[number])
        yield from _bars(report, cells if len(cells) <= limit else group_cells(cells, limit))
        yield "</svg>\n"
    if len(layers) > MAX_LAYERS:
        yield f"<p>and {len(layers) - MAX_LAYERS:,} more layers</p>\n"


def swatch(step: int) -> str:
    """Return the bar of a step, for the legend."""
    height = bar_height(step)
    return (
        f'<svg class="swatch" viewBox="0 0 {_HEIGHT} {_HEIGHT}" aria-hidden="true">'
        f'<rect class="none" y="{_HEIGHT - _NOT_NEEDED_HEIGHT}" width="{_HEIGHT}" height="{_NOT_NEEDED_HEIGHT}"/>'
        f'<rect class="s{step}" x="15" y="{_HEIGHT - height}" width="70" height="{height}"/></svg>'
    )


def bar_height(step: int) -> int:
    """Return the height of a step's bar: the first step has the highest."""
    return _HEIGHT - step * (_HEIGHT - 2 * _NOT_NEEDED_HEIGHT) // MAX_STEPS


def _bars(report: StartReport, cells: tuple[Cell, ...]) -> Iterator[str]:
    if not cells:
        yield f'<rect class="whole" width="{_WIDTH}" height="{_HEIGHT}"/>'
        return
    scale = _WIDTH / (cells[-1].end or 1)
    gap = _GAP if len(cells) <= _CELLS_WITH_GAPS else 0
    for cell in cells:
        spans = f"span {cell.first_span:,}"
        if cell.last_span != cell.first_span:
            spans = f"spans {cell.first_span:,} to {cell.last_span:,}"
        width = (cell.end - cell.start) * scale * (1 - gap)
        if cell.first_ms is None:
            kind, height, need = "none", _NOT_NEEDED_HEIGHT, "not needed"
        else:
            step = report.steps.step_of(cell.first_ms)
            kind, height, need = f"s{step}", bar_height(step), f"first needed at {cell.first_ms:,} ms"
        yield (
            f'<rect class="{kind}" x="{cell.start * scale:.2f}" y="{_HEIGHT - height}" width="{width:.2f}" '
            f'height="{height}"><title>{spans}, {mb_text(cell.end - cell.start)}: {need}</title></rect>'
        )
