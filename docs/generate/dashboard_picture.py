"""A picture of the dashboard's layout, drawn from the dashboard's own document.

Each line in a widget stands for a series and has its colour. The curves are not data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from infra.alarms import alarms
from infra.dashboard import COLUMNS, dashboard
from infra.watched import Watched, WatchedFunction

PICTURE = Path(__file__).parents[1] / "dashboard.svg"

CELL = 40
"""The width of a column and the height of a row, in pixels."""
GAP = 6
_FONT = "font-family='sans-serif'"
_PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
_FOUND = {
    "skipped": ("image-too-small", "already-indexed", "own-artifact"),
    "failed": ("BlobMissing", "States.Timeout"),
}
"""Sample results of the search expressions, by their ids."""

Json = Any
Box = tuple[float, float, float, float]


def sample() -> Watched:
    """Return the names of a sample stack."""
    names = ("ImageFilter", "IndexLayer", "PublishIndex", "ImageLister", "OutcomeRecorder")
    return Watched(
        stack="soci-index-builder",
        region="eu-central-1",
        index_image="IndexImage",
        reindex_repositories="ReindexRepositories",
        functions={name: WatchedFunction(name=name, timeout_seconds=900) for name in names},
        undelivered="Undelivered",
        rules=("Push", "Replication", "PullThroughCache", "Failure", "Daily"),
    )


def picture() -> str:
    """Return the picture as SVG."""
    watched = sample()
    watches = alarms(watched, push_to_index_minutes=30, is_searched=True)
    body: Json = dashboard(watched, alarm_arns=[one.name for one in watches], push_to_index_minutes=30)
    rows = max(widget["y"] + widget["height"] for widget in body["widgets"])
    size = f"width='{COLUMNS * CELL}' height='{rows * CELL}'"
    shapes = [line for widget in body["widgets"] for line in _widget(widget)]
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} viewBox='0 0 {COLUMNS * CELL} {rows * CELL}'>",
            "<rect width='100%' height='100%' fill='#f2f3f3'/>",
            *shapes,
            "</svg>\n",
        ]
    )


def _widget(widget: Mapping[str, Json]) -> Iterator[str]:
    x, y = widget["x"] * CELL + GAP / 2, widget["y"] * CELL + GAP / 2
    width, height = widget["width"] * CELL - GAP, widget["height"] * CELL - GAP
    properties = widget["properties"]
    yield (
        f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='4' fill='white' stroke='#d5dbdb'/>"
    )
    yield _text(x + 10, y + 20, properties["title"], size=13, weight="bold")
    inside = (x + 10, y + 32, width - 20, height - 42)
    if widget["type"] == "alarm":
        yield from _alarms(inside, properties["alarms"])
    elif properties["view"] == "singleValue":
        yield from _numbers(inside, properties)
    else:
        yield from _graph(inside, properties)


def _alarms(box: Box, names: list[str]) -> Iterator[str]:
    x, y, width, height = box
    columns = math.ceil(len(names) / 2)
    step = width / columns
    for number, name in enumerate(names):
        left, top = x + number % columns * step, y + number // columns * height / 2
        yield (
            f"<rect x='{left:g}' y='{top:g}' width='{step - 6:g}' height='{height / 2 - 6:g}' rx='3' "
            "fill='#e6f4ea' stroke='#2ca02c'/>"
        )
        yield _text(left + 8, top + height / 4 + 1, name, size=11)


def _numbers(box: Box, properties: Mapping[str, Json]) -> Iterator[str]:
    x, y, width, height = box
    series = [*_legend(properties)]
    step = width / len(series)
    for number, (label, color) in enumerate(series):
        left = x + number * step
        yield _text(left, y + 36, "n", size=28, color=color)
        yield _text(left, y + 56, label, size=11)
        yield _curve((left, y + height - 44, step - 14, 40), number, color)


def _graph(box: Box, properties: Mapping[str, Json]) -> Iterator[str]:
    x, y, width, height = box
    legend = [*_legend(properties)]
    plot = height - 34
    yield f"<path d='M{x:g} {y:g}V{y + plot:g}H{x + width:g}' fill='none' stroke='#aab7b8'/>"
    for line in properties.get("annotations", {}).get("horizontal", ()):
        yield (
            f"<path d='M{x:g} {y + 12:g}H{x + width:g}' stroke='{line['color']}' stroke-dasharray='5 4'/>"
            + _text(x + 6, y + 9, line["label"], size=10, color=line["color"])
        )
    band = plot * 0.7 / len(legend)
    left, bottom = x, y + plot + 16
    for number, (label, color) in enumerate(legend):
        yield _curve((x, y + plot - (number + 1) * band, width, band), number, color)
        length = 22 + 5.8 * len(label)
        if left + length > x + width:
            left, bottom = x, bottom + 14
        yield f"<rect x='{left:g}' y='{bottom - 9:g}' width='9' height='9' fill='{color}'/>"
        yield _text(left + 12, bottom, label, size=10)
        left += length


def _legend(properties: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the label and the colour of each line."""
    options = [line[-1] for line in properties["metrics"] if line[-1].get("visible", True)]
    names = [
        (label, one.get("color"))
        for one in options
        for label in _FOUND.get(one.get("id", ""), (one["label"],))
    ]
    for number, (label, color) in enumerate(names):
        yield label, color or _PALETTE[number % len(_PALETTE)]


def _curve(box: Box, number: int, color: str) -> str:
    """Draw a made-up curve, the same for the same number."""
    x, y, width, height = box
    points = []
    for step in range(25):
        share = 0.5 + 0.3 * math.sin(step * 0.7 + number * 1.9) + 0.15 * math.sin(step * 2.3 + number)
        points.append(f"{x + width * step / 24:.1f},{y + height * (1 - share):.1f}")
    return f"<polyline points='{' '.join(points)}' fill='none' stroke='{color}' stroke-width='1.5'/>"


def _text(x: float, y: float, text: str, *, size: int, weight: str = "normal", color: str = "#16191f") -> str:
    return (
        f"<text x='{x:g}' y='{y:g}' {_FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{color}'>{escape(text)}</text>"
    )
