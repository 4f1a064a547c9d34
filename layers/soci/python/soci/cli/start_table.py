"""The report on a start at the terminal, 80 columns wide."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence

from soci.cli.terminal import count_text, print_lines, print_table, printable
from soci.image.filesystem import shown
from soci.start import picture
from soci.start.quantities import mb_text, of_text
from soci.start.start_report import StartReport, largest_reads

WIDTH = 80
_PICTURE_WIDTH = 46
_PATH_WIDTH = 48

_STYLES = ("bold magenta", "magenta", "red", "yellow", "green", "cyan")
"""For each step. A terminal chooses its own colours; the height of a bar says the same."""


def print_report(report: StartReport, *, files: int) -> None:
    """Print a report with so many files."""
    print_lines([*_summary(report), ""])
    _print_picture(_picture_lines(report))
    print_lines([""])
    columns: tuple[str, ...] = ("READY BY", "PULL", "RUN", "READY", "BYTES", "REQUESTS")
    print_table(columns, _ways(report), right=columns[1:])
    print_lines([f"estimated for the {report.start.reader.name} at {report.start.network}", ""])
    if files and report.start.needs.files:
        columns = ("FILE", "READ", "LAYER", "FIRST")
        print_table(columns, _files(report, files), right=columns[1:])
        others = len(report.start.needs.files) - files
        print_lines([f"and {others:,} other files", ""] if others > 0 else [""])
    for one in report.advice:
        print_lines(textwrap.wrap(one.sentence, WIDTH, subsequent_indent="  "))


def _summary(report: StartReport) -> Iterator[str]:
    profile, needs = report.profile, report.start.needs
    yield f"{report.name} {report.platform}"
    read = count_text(len(needs.files), "file")
    yield f"{read} read, recorded in {count_text(profile.starts, 'start')}"
    if profile.program:
        yield f"program {shown(profile.program)}"
    if needs.missing:
        yield f"{count_text(len(needs.missing), 'file')} of the profile not found in this image"
    needed = of_text(report.start.needed_bytes, report.start.compressed_bytes)
    yield f"needed: {needed}, {report.needed_spans:,} of {count_text(report.all_spans, 'span')}"


def _picture_lines(report: StartReport) -> Iterator[str]:
    start = report.start
    rows = picture.draw_layers(start.layers, start.needs.spans, report.steps, width=_PICTURE_WIDTH)
    for number, (layer, load, row) in enumerate(zip(start.layers, start.loads, rows, strict=True)):
        spans = f"{len(load.needed):,}/{len(layer.spans):,}" if layer.spans else "whole"
        yield f"{number:>3} {mb_text(layer.compressed_bytes):>11}  {row:<{_PICTURE_WIDTH}}  {spans}"
    legend = picture.draw_legend(report.steps)
    for at in range(0, len(legend), 3):
        yield "    " + "".join(f"{one:<25}" for one in legend[at : at + 3]).rstrip()


def _print_picture(lines: Iterator[str]) -> None:
    """Print a picture in colours on a terminal, unless NO_COLOR is set. Without bars in the locale, in digits."""
    from rich.console import Console  # noqa: PLC0415 - loaded when something is shown, not at every start
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        text = Text(line if _can_write(picture.BARS + picture.NOT_NEEDED) else picture.in_ascii(line))
        for at, char in enumerate(line):
            step = picture.BARS.find(char)
            if step >= 0:
                text.stylize(_STYLES[step], at, at + 1)
        console.print(text)


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _ways(report: StartReport) -> list[Sequence[str]]:
    return [
        (
            way.label,
            f"{way.estimate.pull_seconds:.1f} s",
            f"{way.estimate.run_seconds:.1f} s",
            f"{way.estimate.seconds:.1f} s",
            mb_text(way.estimate.bytes),
            f"{way.estimate.requests:,}",
        )
        for way in report.ways
    ]


def _files(report: StartReport, count: int) -> list[Sequence[str]]:
    return [
        (
            _shortened(printable(shown(need.read.path))),
            mb_text(need.size_bytes),
            str(need.node.data_layer),
            f"{need.read.first_ms:,} ms",
        )
        for need in largest_reads(report, count)
    ]


def _shortened(path: str) -> str:
    """Return a path that fits its column: its middle is left out."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

    if cell_len(path) <= _PATH_WIDTH:
        return path
    end = path
    while cell_len(end) > _PATH_WIDTH * 2 // 3:
        end = end[1:]
    return set_cell_size(path, _PATH_WIDTH - cell_len(end) - 3) + "..." + end
