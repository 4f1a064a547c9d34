"""Two things measured by turns, so that what else the machine does hits both alike."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Seconds of each round."""

    ours: tuple[float, ...]
    floor: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times the floor's time ours takes, in the median round."""
        return statistics.median(a / b for a, b in zip(self.ours, self.floor, strict=True))

    @property
    def best_ratio(self) -> float:
        """The ratio of the shortest times: on a busy machine these are the least disturbed."""
        return min(self.ours) / min(self.floor)


def by_turns(
    ours: Callable[[], object],
    floor: Callable[[], object],
    *,
    rounds: int,
    clocks: Sequence[Callable[[], float]] = (time.perf_counter,),
) -> list[Pair]:
    """Run both in each round, and every other round in the other order; return a pair for each clock."""
    ours_seconds: list[list[float]] = []
    floor_seconds: list[list[float]] = []
    for number in range(rounds):
        turns = [(ours, ours_seconds), (floor, floor_seconds)]
        for function, seconds in turns if number % 2 == 0 else reversed(turns):
            started = [clock() for clock in clocks]
            function()
            seconds.append([clock() - start for clock, start in zip(clocks, started, strict=True)])
    by_clock = zip(zip(*ours_seconds, strict=True), zip(*floor_seconds, strict=True), strict=True)
    return [Pair(ours=ours, floor=floor) for ours, floor in by_clock]


def cpu_seconds_of_processes() -> float:
    """Return the CPU time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command: list[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, without its output.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
