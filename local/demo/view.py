"""The pictures of the demonstration: states over time, and a table of images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from local.system.record import Run, Status, Visit
from local.system.workflows import Execution

_BAR_WIDTH = 31
_NAME_WIDTH = 22
_COLUMNS = ("   IMAGE", "STARTED BY", "OUTCOME", "REASON", "LAYERS", "ZTOCS", "TIME")
_NAMES = frozenset(_COLUMNS[:2])
_FIGURES = frozenset(_COLUMNS[4:])
_SPARE = ("LAYERS", "ZTOCS", "TIME")
"""Columns to leave out in a narrow terminal, in this order."""
_ANY_WIDTH = 1_000
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_STYLES = {
    "indexed": "green",
    "tagged": "cyan",
    "skipped": "dim",
    "failed": "red",
    "nothing-to-index": "yellow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An execution and what started it."""

    execution: Execution
    cause: str


def watch(console: Console, execution: Execution, *, timeout_seconds: float = 120) -> Execution:
    """Show the states of an execution live; without a terminal, at the end."""
    if not console.is_terminal:
        execution.wait(timeout_seconds)
        console.print(timeline(execution.run))
        return execution
    deadline = time.monotonic() + timeout_seconds
    with Live(console=console, refresh_per_second=12, auto_refresh=False) as live:
        while not execution.done.wait(1 / 12) and time.monotonic() < deadline:
            live.update(timeline(execution.run), refresh=True)
        live.update(timeline(execution.run), refresh=True)
    return execution.wait(0)


def timeline(run: Run) -> RenderableType:
    """Draw each state as a bar over time, items of maps below their map."""
    rows = list(run.walk())
    if not rows:
        return Text("   ...", style="dim")
    begun = rows[0][1].entered
    total = max((visit.left or time.monotonic()) - begun for _, visit in rows) or 0.001
    lines = [_line(visit, depth=depth, begun=begun, total=total, width=_BAR_WIDTH) for depth, visit in rows]
    axis = Text(f"   {'':{_NAME_WIDTH}}  0{_time_text(total):>{_BAR_WIDTH - 1}}", style="dim")
    return Group(*lines, axis)


def _line(visit: Visit, *, depth: int, begun: float, total: float, width: int) -> Text:
    start = int((visit.entered - begun) / total * width)
    end = int(((visit.left or time.monotonic()) - begun) / total * width)
    bar = " " * start + "█" * max(1, end - start)
    mark, style = _mark(visit)
    name = f"{'  ' * depth}{_name(visit)}"
    line = Text("   ")
    line.append(f"{name:{_NAME_WIDTH}.{_NAME_WIDTH}}", style="" if depth == 0 else "dim")
    line.append(f"  {bar[:width]:{width}}", style=style)
    line.append(f" {_time_text(visit.seconds):>7} {mark}")
    if visit.calls > 1:
        line.append(f" {visit.calls} attempts", style="yellow")
    return line


def _name(visit: Visit) -> str:
    layer = visit.input.get("layer") if isinstance(visit.input, dict) else None
    if isinstance(layer, dict):
        return f"{str(layer.get('digest', ''))[7:15]} {_megabytes(layer.get('size', 0))}"
    return visit.state


def _mark(visit: Visit) -> tuple[str, str]:
    if visit.left is None:
        return _SPINNER[int(time.monotonic() * 12) % len(_SPINNER)], "cyan"
    return ("✗", "red") if visit.error else ("✓", "green")


def images_table(started: Sequence[Started], console: Console) -> Table:
    """List the outcome of each image, in as many columns as fit into the terminal.

    Outcomes and reasons are never cut. In a very narrow terminal, names fold.
    """
    for count in range(len(_SPARE) + 1):
        table = _table(started, left_out=_SPARE[:count])
        if Measurement.get(console, console.options.update(width=_ANY_WIDTH), table).maximum <= console.width:
            break
    return table


def _table(started: Sequence[Started], *, left_out: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    shown = [name for name in _COLUMNS if name not in left_out]
    for name in shown:
        table.add_column(
            name,
            justify="right" if name in _FIGURES else "left",
            no_wrap=name not in _NAMES,
            overflow="fold",
        )
    for one in started:
        cells = dict(zip(_COLUMNS, _cells(one), strict=True))
        table.add_row(*(cells[name] for name in shown))
    return table


def _cells(started: Started) -> Iterator[RenderableType]:
    output: dict[str, Any] = started.execution.output or {}
    failed = started.execution.status is not Status.SUCCEEDED
    outcome = "failed" if failed else str(output["outcome"])
    platforms = output.get("platforms") or []
    layers = sum(one.get("layers_indexed", 0) for one in platforms)
    name = output.get("tag") or str(output.get("digest"))[:19]
    yield f"   {output.get('repository')}:{name}"
    yield started.cause
    yield Text(outcome, style=_STYLES.get(outcome, ""))
    yield str((started.execution.run.error if failed else output.get("reason")) or "")
    yield str(layers or "")
    yield _megabytes(output["ztoc_bytes"]) if output.get("ztoc_bytes") else ""
    yield _time_text(sum(visit.seconds for visit in started.execution.run.visits))


def _time_text(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.1f} MB"
