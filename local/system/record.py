"""What an execution went through: every visit to a state, with its input, and the items of its maps.

Step Functions shows the same in its console; a redrive is decided from it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Any
"""A JSON value, as states pass it on."""


class Status(StrEnum):
    """Where an execution, or an item of a map, stands. The values are those of Step Functions."""

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
    """How often a function was invoked, with retries."""
    items: list[Run] = field(default_factory=list)
    """If the state is a map: the items of its last attempt, in the order in which they began."""
    stops_together: bool = False
    """The state is an inline map: one item that fails ends all others."""
    resumes: Visit | None = field(default=None, repr=False)
    """The failed visit that this one redrives."""

    @property
    def seconds(self) -> float:
        """How long the state took, so far if it is still running."""
        return (self.left or time.monotonic()) - self.entered

    def items_by_index(self) -> dict[int, Run]:
        """Give the items by their index in the map."""
        return {run.index: run for run in self.items if run.index is not None}


@dataclass(slots=True, kw_only=True)
class Run:
    """One way through a chain of states: that of an execution, or that of an item of a map."""

    name: str
    index: int | None = None
    visits: list[Visit] = field(default_factory=list)
    status: Status = Status.RUNNING
    output: Json = None
    error: str | None = None
    cause: str | None = None

    def states(self) -> list[str]:
        """Give the names of the states in the order in which they were entered, without those of items."""
        return [visit.state for visit in self.visits]

    def walk(self) -> Iterator[tuple[int, Visit]]:
        """Yield each visit with its depth, those of a map's items after the map's own."""
        for visit in self.visits:
            yield 0, visit
            for item in visit.items:
                yield from ((depth + 1, inner) for depth, inner in item.walk())

    def calls(self) -> int:
        """Count the functions' invocations, those of items and retries with them."""
        return sum(visit.calls for _, visit in self.walk())
