"""The record of an execution: every visit to a state with its input, and the items of maps.

The console of Step Functions shows the same. A redrive starts from this record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Any
"""A JSON value, as passed between states."""


class Status(StrEnum):
    """The status of an execution or of a map's item. The values are those of Step Functions."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"


@dataclass(slots=True, kw_only=True)
class Visit:
    """One visit to a state. Times are seconds of `time.monotonic()`."""

    state: str
    input: Json
    entered: float = field(default_factory=time.monotonic)
    left: float | None = None
    error: str | None = None
    calls: int = 0
    """The number of function invocations, with retries."""
    items: list[Run] = field(default_factory=list)
    """For a map: the items of its last attempt, in the order of their start."""
    stops_together: bool = False
    """Whether one failed item ends all others, as in an inline map."""
    resumes: Visit | None = field(default=None, repr=False)
    """The failed visit that this one repeats after a redrive."""

    @property
    def seconds(self) -> float:
        """The duration of the visit, so far if it is still running."""
        return (self.left or time.monotonic()) - self.entered

    def items_by_index(self) -> dict[int, Run]:
        """Return the items by their index in the map."""
        return {run.index: run for run in self.items if run.index is not None}


@dataclass(slots=True, kw_only=True)
class Run:
    """One pass through a chain of states, of an execution or of a map's item."""

    name: str
    index: int | None = None
    visits: list[Visit] = field(default_factory=list)
    status: Status = Status.RUNNING
    output: Json = None
    error: str | None = None
    cause: str | None = None

    def states(self) -> list[str]:
        """Return the names of the visited states in order, without those of items."""
        return [visit.state for visit in self.visits]

    def walk(self) -> Iterator[tuple[int, Visit]]:
        """Yield each visit with its depth; the visits of items follow that of their map."""
        for visit in self.visits:
            yield 0, visit
            for item in visit.items:
                yield from ((depth + 1, inner) for depth, inner in item.walk())

    def calls(self) -> int:
        """Return the number of function invocations, with items and retries."""
        return sum(visit.calls for _, visit in self.walk())
