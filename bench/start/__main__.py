"""`make bench-start`: cold starts of real programs, by each way to load their image.

    pull         pull and unpack, as containerd does, with a fast unpacker
    lazy         `soci-index mount`
    prefetch     `soci-index mount --prefetch`, the index made with a recorded start profile
    start-first  the same, the layers written anew with the start's files in front

The registry is this repository's own, behind a proxy that adds round trips and shares a bandwidth. Each start has a new
cache, a new mount and a new place to write. Needs root, /dev/fuse, overlayfs and Debian's apt.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.start.facts import coverage_of, machine_facts, start_facts
from bench.start.images import MadeLayer, image_layout, layers_of
from bench.start.measure import Key, Plan, measure, record
from bench.start.packages import STORE
from bench.start.proxy import Line, Proxy, open_proxy
from bench.start.registry import open_registry, push_plain, push_with_profile, reference
from bench.start.results import RESULTS, Coverage, Results, Run, collect
from bench.start.tables import console_tables
from bench.start.ways import LAZY, START_FIRST, WAYS
from bench.start.workloads import NEXT_BUILD, WORKLOADS, Workload
from soci.start.profile import parse_profile

_NEEDED = ("apt-get", "dpkg-deb", "unshare", "ip", "skopeo", "tar", "npm")


def main() -> None:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description="Time cold starts.")
    names = [workload.name for workload in (*WORKLOADS, NEXT_BUILD)]
    parser.add_argument("--workloads", nargs="+", choices=names, default=names)
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--runs", type=int, default=5, help="cold starts of each cell (default: 5)")
    parser.add_argument("--rtt", nargs="+", type=float, default=[20, 1], metavar="MS")
    parser.add_argument("--bandwidth", nargs="+", type=float, default=[75, 300], metavar="MB/S")
    parser.add_argument(
        "--json", type=Path, default=RESULTS, metavar="FILE", help="where the results are kept"
    )
    parser.add_argument(
        "--minutes", type=float, default=32, help="begin no round that would end later (default: 32)"
    )
    parser.add_argument("--record", action="store_true", help="record the starts again")
    arguments = parser.parse_args()
    _check_machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # unmounts and removes what is there
    plan = Plan(
        workloads=[one for one in (*WORKLOADS, NEXT_BUILD) if one.name in arguments.workloads],
        ways=arguments.ways,
        round_trips_ms=arguments.rtt,
        bandwidths_mb_per_second=arguments.bandwidth,
        runs=arguments.runs,
        minutes=arguments.minutes,
    )
    console = Console(width=None if sys.stdout.isatty() else 140)
    results = run_all(plan, console, record_again=arguments.record)
    arguments.json.write_text(results.encode())
    for table in console_tables(results):
        console.print(table)


def _check_machine() -> None:
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0:
        raise SystemExit("bench-start mounts file systems and changes owners: run it as root")
    if not Path("/dev/fuse").exists():
        raise SystemExit("bench-start needs /dev/fuse")
    if lacking:
        raise SystemExit(f"bench-start needs {', '.join(lacking)}")


def run_all(plan: Plan, console: Console, *, record_again: bool) -> Results:
    """Make what is missing, measure everything, and return it."""
    machine = machine_facts()  # with the load before this program's own
    for workload in plan.workloads:
        console.print(f"making the image of {workload.name}", highlight=False)
        image_layout(workload.image)
    line = Line(round_trip_seconds=0.0, bandwidth_bytes_per_second=1e12)
    with open_registry() as registry, open_proxy(registry, line) as proxy:
        images, coverage = {}, None
        for workload in plan.workloads:
            console.print(f"indexing {workload.name}", highlight=False)
            profile = prepare(workload, registry, proxy, plan.ways, record_again=record_again)
            if workload is NEXT_BUILD:
                coverage = _coverage(registry, proxy, profile)
            else:
                images[workload.name] = {
                    way: start_facts(reference(registry, way, workload.name), profile)
                    for way in (LAZY, START_FIRST)
                    if way in plan.ways
                }
        runs = [_told(key, run, console) for key, run in measure(plan, proxy)]
    return Results(machine=machine, images=images, cells=collect(runs), coverage=coverage)


def _told(key: Key, run: Run, console: Console) -> tuple[Key, Run]:
    name, way, rtt, rate = key
    text = f"{name:12} {way:12} {rtt:3g} ms {rate:4g} MB/s {run.pull_seconds:7.2f} + {run.run_seconds:6.2f} s"
    console.print(f"{text} {run.bytes / 1e6:7.1f} MB {run.requests:4} requests", highlight=False)
    return key, run


def prepare(
    workload: Workload, registry: str, proxy: Proxy, ways: Sequence[str], *, record_again: bool
) -> Path:
    """Push the images of a workload. Returns its profile, which is recorded if there is none of this image yet."""
    layout = image_layout(workload.image)
    push_plain(registry, layout, workload.name)
    profile = STORE / "profiles" / f"{workload.name}.json"
    if workload.recorded_on is not None:
        earlier = replace(
            workload, image=workload.recorded_on, recorded_on=None, name=f"{workload.name}-before"
        )
        profile = prepare(earlier, registry, proxy, (), record_again=record_again)
    elif record_again or not _is_of(profile, layers_of(workload.image)):
        record(workload, reference(proxy.host, LAZY, workload.name), proxy, profile)
    push_with_profile(registry, layout, workload.name, profile, tuple(ways))
    return profile


def _is_of(profile: Path, layers: Sequence[MadeLayer]) -> bool:
    """Whether a profile is there and was recorded on an image of these layers."""
    if not profile.exists():
        return False
    recorded = {file.layer for file in parse_profile(profile.read_bytes()).files}
    return recorded <= {layer.digest for layer in layers}


def _coverage(registry: str, proxy: Proxy, before: Path) -> Coverage:
    """Record the start of this build, too, to see how much of it the earlier profile covers."""
    image = reference(proxy.host, LAZY, NEXT_BUILD.name)
    now = STORE / "profiles" / f"{NEXT_BUILD.name}.json"
    record(NEXT_BUILD, image, proxy, now)
    return coverage_of(reference(registry, LAZY, NEXT_BUILD.name), before, now)


if __name__ == "__main__":
    main()
