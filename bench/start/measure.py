"""Cold starts in turns: in each round every way of every workload once, so that what else the machine does hits all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from bench.start.packages import STORE
from bench.start.program import start_until_ready, writable
from bench.start.proxy import Line, Proxy
from bench.start.registry import reference
from bench.start.results import Run
from bench.start.ways import WAYS, Way, mounted
from bench.start.workloads import Workload

_FAST = Line(round_trip_seconds=0.0, bandwidth_bytes_per_second=1e12)
Key = tuple[str, str, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured."""

    workloads: Sequence[Workload]
    ways: Sequence[str]
    round_trips_ms: Sequence[float]
    bandwidths_mb_per_second: Sequence[float]
    runs: int
    minutes: float
    """No round is begun that would probably end later."""

    def turns(self) -> Iterator[tuple[Workload, str, float, float]]:
        """Yield the starts of a round in order. One with the profile of another build has the first line only."""
        for line in product(self.round_trips_ms, self.bandwidths_mb_per_second):
            is_first = line == (self.round_trips_ms[0], self.bandwidths_mb_per_second[0])
            for workload in self.workloads:
                if is_first or workload.recorded_on is None:
                    for way in self.ways:
                        yield workload, way, *line


def measure(plan: Plan, proxy: Proxy) -> Iterator[tuple[Key, Run]]:
    """Yield each cold start."""
    began = time.monotonic()
    for number in range(1, plan.runs + 1):
        for workload, way, rtt, rate in plan.turns():
            proxy.set_line(Line(round_trip_seconds=rtt / 1e3, bandwidth_bytes_per_second=rate * 1e6))
            run = start_once(workload, WAYS[way], reference(proxy.host, way, workload.name), proxy)
            yield (workload.name, way, rtt, rate), run
        taken = time.monotonic() - began
        if taken / number * (number + 1) > plan.minutes * 60:
            return


def start_once(workload: Workload, way: Way, image: str, proxy: Proxy) -> Run:
    """Start a workload once, with nothing there from before, and remove all that it left."""
    STORE.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=STORE))
    try:
        before = proxy.traffic
        began = time.monotonic()
        with way(image, scratch) as lower:
            loaded = time.monotonic()
            with writable(lower, scratch) as root:
                start_until_ready(workload, root)
                ready = time.monotonic()
                traffic = proxy.traffic - before
    finally:
        shutil.rmtree(scratch)
        os.sync()  # so that the next start does not wait for the writes of this one
    return Run(
        pull_seconds=loaded - began,
        run_seconds=ready - loaded,
        bytes=traffic.bytes,
        requests=traffic.requests,
    )


def record(workload: Workload, image: str, proxy: Proxy, profile: Path) -> None:
    """Start a workload lazily over a fast line, and write what it read as a start profile."""
    proxy.set_line(_FAST)
    profile.parent.mkdir(parents=True, exist_ok=True)
    start_once(workload, partial(_recorded, profile), image, proxy)


def _recorded(profile: Path, image: str, scratch: Path) -> AbstractContextManager[list[Path]]:
    return mounted(image, scratch, "--record", str(profile))
