"""A table of faults: each test of a module adds a row, and the run prints all rows with their sums at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


class Row(Protocol):
    """A fault, how often what came of it, and some words about it."""

    @property
    def name(self) -> str: ...

    @property
    def counts(self) -> Sequence[int]: ...

    @property
    def words(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Head:
    """The titles of the columns, and the widths of the name and of the counts."""

    name: str
    counts: tuple[str, ...]
    words: str
    name_width: int
    count_width: int

    def line(self, name: str, counts: Sequence[object], words: str = "") -> str:
        """Return one line of the table."""
        columns = "".join(f"{count!s:>{self.count_width}}" for count in counts)
        return f"{name:{self.name_width}}{columns}  {words}".rstrip()


@contextmanager
def fault_table(head: Head, printed: list[str]) -> Iterator[list[Any]]:
    """Collect the rows that are added within the block, and print them at the end of the run."""
    rows: list[Row] = []
    yield rows
    printed += ["", head.line(head.name, head.counts, head.words)]
    printed += [head.line(row.name, row.counts, row.words) for row in rows]
    sums = [sum(column) for column in zip(*(row.counts for row in rows), strict=True)]
    printed.append(head.line(f"all: {len(rows)} faults", sums))
