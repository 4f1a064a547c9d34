"""Two things measured by turns, so that what else the machine does hits both alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
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


def by_turns(ours: Callable[[], object], floor: Callable[[], object], *, rounds: int) -> Pair:
    """Run both in each round, and every other round in the other order."""
    ours_seconds: list[float] = []
    floor_seconds: list[float] = []
    for number in range(rounds):
        turns = [(ours, ours_seconds), (floor, floor_seconds)]
        for function, seconds in turns if number % 2 == 0 else reversed(turns):
            seconds.append(_seconds(function))
    return Pair(ours=tuple(ours_seconds), floor=tuple(floor_seconds))


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def run(command: list[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, without its output.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
