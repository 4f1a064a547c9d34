"""The results as tables: at the terminal, and in docs/start.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from bench.start.results import Cell, Coverage, Results
from bench.start.ways import LABELS, LAZY, PREFETCH, PULL, START_FIRST
from bench.start.workloads import NEXT_BUILD, WORKLOADS

_WAYS = (PULL, LAZY, PREFETCH, START_FIRST)
_WHAT = {workload.name: workload.what for workload in (*WORKLOADS, NEXT_BUILD)}


def line_text(line: tuple[float, float]) -> str:
    """Return `20 ms, 75 MB/s`."""
    return f"{line[0]:g} ms, {line[1]:g} MB/s"


def what_text(workload: str) -> str:
    """Return what a workload does."""
    return _WHAT.get(workload, workload)


def machine_text(results: Results) -> str:
    """Describe the machine, and how often each start was measured."""
    machine = results.machine
    runs = sorted({len(cell.runs) for cell in results.cells})
    starts = "1 cold start" if runs == [1] else f"{' or '.join(map(str, runs))} cold starts"
    text = (
        f"{machine['processors']} cores ({machine['model']}), {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}; {starts} of each cell, in turns."
    )
    if machine["load"] > machine["processors"]:
        text += f" **A trial: others used the machine** (load {machine['load']:g}), so only bytes and requests count."
    return text


def console_tables(results: Results) -> Iterator[Table]:
    """Yield a table for each line."""
    for line in results.lines:
        table = Table(title=f"{line_text(line)}: median (shortest to longest) s, MB, requests")
        table.add_column("workload")
        for way in _WAYS:
            table.add_column(LABELS[way], justify="right")
        for workload in results.workloads:
            cells = [results.find(workload, way, line) for way in _WAYS]
            if any(cells):
                table.add_row(workload, *map(_console_text, cells))
        yield table


def _console_text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    spread = f"{cell.seconds:.2f} ({cell.least_seconds:.2f} to {cell.most_seconds:.2f})"
    return f"{spread}\n{_traffic_text(cell)}"


def page_tables(results: Results) -> str:
    """Return the Markdown of the section "Measured": all cells, the fastest way of each row in bold."""
    parts = [
        part for line in results.lines for part in (f"**{line_text(line)}**", _line_table(results, line))
    ]
    parts += ["**Bytes and requests** until ready", _traffic_table(results)]
    if results.coverage is not None:
        parts.append(_coverage_text(results.coverage))
    return "\n\n".join(parts)


def _line_table(results: Results, line: tuple[float, float]) -> str:
    rows = [["start", *(LABELS[way] for way in _WAYS)]]
    for workload in results.workloads:
        cells = [results.find(workload, way, line) for way in _WAYS]
        if any(cells):
            best = min(cell.seconds for cell in cells if cell)
            rows.append([what_text(workload), *(_page_text(cell, best) for cell in cells)])
    return markdown(rows)


def _page_text(cell: Cell | None, best_seconds: float) -> str:
    if cell is None:
        return "-"
    number = f"{cell.seconds:.2f}"
    bold = f"**{number}**" if cell.seconds == best_seconds else number
    pull, run = cell.middle.pull_seconds, cell.middle.run_seconds
    spread = f"{cell.least_seconds:.2f} to {cell.most_seconds:.2f}"
    return f"{bold} = {pull:.2f} + {run:.2f} ({spread})"


def _traffic_text(cell: Cell) -> str:
    return f"{cell.middle.bytes / 1e6:.1f} MB, {cell.middle.requests}"


def _traffic_table(results: Results) -> str:
    line = results.lines[0]
    rows = [["start", *(LABELS[way] for way in _WAYS)]]
    for workload in results.workloads:
        cells = [results.find(workload, way, line) for way in _WAYS]
        texts = [_traffic_text(cell) if cell else "-" for cell in cells]
        rows.append([what_text(workload), *texts])
    return markdown(rows)


def _coverage_text(found: Coverage) -> str:
    share = found.covered_bytes / found.needed_bytes
    return (
        f"**From one build to the next.** The profile was recorded on the build before, with other versions of the "
        f"packages that change most. Of its {found.files:,} files {found.missing_files:,} are no more. Its prefetch "
        f"fetched {found.prefetched_bytes / 1e6:.0f} MB and covered {share:.1%} of the "
        f"{found.needed_bytes / 1e6:.0f} MB that the start needs."
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first row is its head."""
    head, *body = rows
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
