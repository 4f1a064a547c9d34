"""Steps of time in which a start needs its spans. Each step has about as many spans as the next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

MAX_STEPS = 6
"""As many as one can tell apart in a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps, numbered from 0. Each begins where the one before ends."""

    starts_ms: tuple[int, ...]
    end_ms: int
    """When the last span is needed first."""

    def step_of(self, first_ms: int) -> int:
        """Return the step in which something is needed."""
        return max(0, bisect_right(self.starts_ms, first_ms) - 1)

    def interval_text(self, step: int) -> str:
        """Return when a step is: `0 to 120 ms`."""
        last = step + 1 == len(self.starts_ms)
        end = self.end_ms if last else self.starts_ms[step + 1] - 1
        start = self.starts_ms[step]
        return f"{start:,} ms" if start == end else f"{start:,} to {end:,} ms"


def plan_steps(times_ms: Iterable[int]) -> Steps:
    """Cut the times at which spans are needed into steps; none for no times."""
    times = sorted(times_ms)
    if not times:
        return Steps(starts_ms=(), end_ms=0)
    starts = {times[number * len(times) // MAX_STEPS] for number in range(MAX_STEPS)}
    return Steps(starts_ms=tuple(sorted(starts)), end_ms=times[-1])
