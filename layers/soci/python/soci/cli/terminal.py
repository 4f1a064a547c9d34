"""The output of commands: tables or one JSON document on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from soci.image.progress import Progress
from soci.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_AGE_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def print_json(document: Mapping[str, object]) -> None:
    """Print a document for a program to read."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")  # ASCII: it can be written in any locale


def print_error(message: str) -> None:
    """Print an error for a person to read."""
    sys.stderr.write(f"soci-index: {printable(message)}\n")


def print_lines(lines: Sequence[str]) -> None:
    """Print plain text."""
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `right` are aligned right.

    Written by hand: rich lays out a few thousand rows a second, and an image has ten times as many files.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - loaded when something is shown, not at every start
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = [tuple(columns), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*table, strict=True)]
    lines = []
    for row in table:
        padded = []
        for column, width, cell in zip(columns, widths, row, strict=True):
            padding = " " * (width - cell_len(cell))
            padded.append(padding + cell if column in right else cell + padding)
        lines.append("  ".join(padded).rstrip())
    Console(highlight=False, soft_wrap=True).print(Text(lines[0], style="bold"))
    sys.stdout.write("".join(f"{line}\n" for line in lines[1:]))


def printable(text: str) -> str:
    """Return text in which control characters are escaped: a file's name must not move the cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def size_text(size_bytes: int) -> str:
    """Return a size for people: 512 B, 9.7 KiB, 84.3 MiB."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(size, 1) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"


def age_text(seconds: float) -> str:
    """Return an age for people: 3 d, 5 h, 12 min, now."""
    for size, unit in _AGE_UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def count_text(number: int, noun: str) -> str:
    """Return a number of things: 1 span, 1,024 spans."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(digest: object) -> str:
    """Return the first 12 digits of a digest, without the algorithm."""
    return str(digest).partition(":")[2][:12]


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Show a bar per layer on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    with _shown_bars() as bars:
        yield _Bars(bars)


@contextmanager
def byte_bar(name: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Show one bar on a terminal; yields a function to call with each number of bytes done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with _shown_bars() as bars:
        task = bars.add_task(name, total=total_bytes)
        yield lambda size_bytes: bars.advance(task, size_bytes)


@contextmanager
def _shown_bars() -> Iterator[Bars]:
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars


class _Silent:
    def start(self, layer: Descriptor) -> None: ...

    def advance(self, layer: Descriptor, size_bytes: int) -> None: ...

    def finish(self, layer: Descriptor) -> None: ...


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[Descriptor, TaskID] = {}

    def start(self, layer: Descriptor) -> None:
        self._tasks[layer] = self._bars.add_task(short(layer.digest), total=layer.size)

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        self._bars.advance(self._tasks[layer], size_bytes)

    def finish(self, layer: Descriptor) -> None:
        self._bars.remove_task(self._tasks.pop(layer))
