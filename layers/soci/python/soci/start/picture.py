"""A picture of an image's layers in text: which parts a start needs, and when.

    0   28.6 MiB  █▇··▃
    1  213.6 MiB  ██·····▇▆▅▅··▃▂·····

The higher a bar, the earlier the part is needed. All layers have one scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from soci.start.cells import group_cells, span_cells
from soci.start.loads import LayerShape, group_by_layer
from soci.start.needs import SpanNeed
from soci.start.steps import Steps

BARS = "█▇▅▄▃▁"
"""A bar for each step, the first one highest."""
DIGITS = "123456"
"""The same for a terminal that can write only ASCII."""

NOT_NEEDED = "·"
WHOLE = "="
"""A layer without a zTOC, which is loaded whole."""

_PLAIN = str.maketrans(BARS + NOT_NEEDED, DIGITS + ".")


def draw_layers(
    layers: Sequence[LayerShape], needs: Sequence[SpanNeed], steps: Steps, *, width: int
) -> list[str]:
    """Return a row of characters for each layer. That of the largest layer is `width` characters long."""
    largest = max((layer.compressed_bytes for layer in layers), default=0)
    grouped = group_by_layer(needs)
    rows = []
    for number, layer in enumerate(layers):
        length = max(1, round(width * layer.compressed_bytes / largest)) if largest else 1
        cells = group_cells(span_cells(layer, grouped[number]), length)
        rows.append(
            "".join(
                NOT_NEEDED if cell.first_ms is None else BARS[steps.step_of(cell.first_ms)] for cell in cells
            )
            or WHOLE * length
        )
    return rows


def draw_legend(steps: Steps) -> list[str]:
    """Return what each bar means."""
    return [f"{BARS[step]} {steps.interval_text(step)}" for step in range(len(steps.starts_ms))]


def in_ascii(text: str) -> str:
    """Return a picture for a terminal that cannot write bars: digits, 1 for what is needed first."""
    return text.translate(_PLAIN)
