"""What the demonstration draws: states as they pass by, bars over seconds, and a table of images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.system.record import Run, Status, Visit
from local.system.workflows import Execution

_BAR_WIDTH = 36
_NAME_WIDTH = 22
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_STYLES = {
    "indexed": "green",
    "tagged": "cyan",
    "skipped": "dim",
    "failed": "red",
    "nothing-to-index": "yellow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An execution and what a person did to start it."""

    execution: Execution
    cause: str


def watch(console: Console, execution: Execution, *, timeout_seconds: float = 120) -> Execution:
    """Show the states of an execution while they pass by; where nothing can move, as they were in the end."""
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
    """Draw each state as a bar over the seconds since the execution began, items of maps below their map."""
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


def images_table(told: Sequence[Told]) -> Table:
    """List what came of each image."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in ("   IMAGE", "STARTED BY", "OUTCOME", "REASON"):
        table.add_column(name, no_wrap=True)
    for name in ("LAYERS", "ZTOCS", "TIME"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in told:
        table.add_row(*_cells(one))
    return table


def _cells(told: Told) -> Iterator[RenderableType]:
    output: dict[str, Any] = told.execution.output or {}
    failed = told.execution.status is not Status.SUCCEEDED
    outcome = "failed" if failed else str(output["outcome"])
    platforms = output.get("platforms") or []
    layers = sum(one.get("layers_indexed", 0) for one in platforms)
    name = output.get("tag") or str(output.get("digest"))[:19]
    yield f"   {output.get('repository')}:{name}"
    yield told.cause
    yield Text(outcome, style=_STYLES.get(outcome, ""))
    yield str((told.execution.run.error if failed else output.get("reason")) or "")
    yield str(layers or "")
    yield _megabytes(output["ztoc_bytes"]) if output.get("ztoc_bytes") else ""
    yield _time_text(sum(visit.seconds for visit in told.execution.run.visits))


def _time_text(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.1f} MB"
