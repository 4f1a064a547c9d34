"""The whole harness once, with a shell as the workload: a registry, the proxy, real mounts, a chroot."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.start import __main__ as bench_start
from bench.start import measure, program
from bench.start.measure import Plan
from bench.start.program import start_until_ready
from bench.start.proxy import Line, open_proxy
from bench.start.results import Results, Run, parse_results
from bench.start.tables import console_tables, page_tables
from bench.start.ways import LAZY, PREFETCH, PULL, START_FIRST
from bench.start.workloads import NEXT_BUILD, Workload
from tests.builders import directory, file, gzip_of, image_of, layout_of, noise, tar_of

NEEDED = noise(1 << 20)
NEVER_READ = noise(16 << 20, "never read")
TINY = Workload(
    name="tiny",
    what="a shell",
    image="tiny",
    command=(
        "/bin/sh",
        "-c",
        "while read -r line; do :; done < /srv/needed; echo is ready; while :; do :; done",
    ),
    ready_line="is ready",
)
PLAN = Plan(
    workloads=[TINY],
    ways=[PULL, LAZY, PREFETCH, START_FIRST],
    round_trips_ms=[1],
    bandwidths_mb_per_second=[300],
    runs=1,
    minutes=10,
)


def shell():
    """The shell of this machine and its libraries."""
    listed = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    paths = ["/bin/sh", *re.findall(r"(/\S+) \(0x", listed)]
    return [file(path.lstrip("/"), Path(path).read_bytes(), mode=0o755) for path in paths]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    content = tar_of(
        directory("dev"),
        directory("proc"),
        *shell(),
        file("srv/never-read", NEVER_READ),
        file("srv/needed", NEEDED),
    )
    layout = layout_of(folder / "image", image_of(gzip_of(content, level=1)), tag="1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_start, "image_layout", lambda _: layout)
        patch.setattr(bench_start, "layers_of", lambda _: [])
        patch.setattr(bench_start, "STORE", folder)
        patch.setattr(measure, "STORE", folder)
        return bench_start.run_all(PLAN, Console(quiet=True), record_again=False)


def bytes_of(results: Results, way: str) -> int:
    (cell,) = (cell for cell in results.cells if cell.way == way)
    (run,) = cell.runs
    return run.bytes


def test_a_pull_fetches_everything_and_a_lazy_start_what_it_reads(results):
    assert [cell.way for cell in results.cells] == PLAN.ways
    assert bytes_of(results, PULL) > len(NEVER_READ)
    assert len(NEEDED) < bytes_of(results, LAZY) < len(NEVER_READ)
    assert bytes_of(results, START_FIRST) <= bytes_of(results, PREFETCH) < len(NEVER_READ)


def test_results_can_be_read_back_and_shown(results):
    assert parse_results(results.encode()).encode() == results.encode()
    (table,) = console_tables(results)
    assert table.row_count == 1
    assert "tiny" in page_tables(results)


def test_what_the_model_needs_is_kept_with_the_results(results):
    facts = results.images["tiny"][LAZY]

    (load,) = facts["loads"]
    assert sum(compressed for _, compressed, _ in load["needed"]) < load["compressed_bytes"]
    assert facts["program"]["files"] >= 2


def test_a_round_starts_everything_on_every_line_but_the_next_build_on_the_first():
    plan = replace(PLAN, workloads=[TINY, NEXT_BUILD], ways=[LAZY], round_trips_ms=[20, 1])

    assert [(one.name, *rest) for one, *rest in plan.turns()] == [
        ("tiny", LAZY, 20, 300),
        ("python-next", LAZY, 20, 300),
        ("tiny", LAZY, 1, 300),
    ]


@pytest.mark.parametrize(("minutes", "rounds"), [(10, 3), (0, 1)], ids=["time for all", "no time"])
def test_no_round_is_begun_that_would_end_too_late(monkeypatch, minutes, rounds):
    one = Run(pull_seconds=1, run_seconds=1, bytes=1, requests=1)
    monkeypatch.setattr(measure, "start_once", lambda *_: one)
    plan = replace(PLAN, ways=[LAZY], runs=3, minutes=minutes)

    with open_proxy("127.0.0.1:9", Line(round_trip_seconds=0, bandwidth_bytes_per_second=1)) as proxy:
        assert len(list(measure.measure(plan, proxy))) == rounds


def test_a_program_that_ends_before_it_is_ready_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_SET_UP", "echo no such luck; exit 3")

    with pytest.raises(SystemExit, match="tiny did not become ready; it printed:\nno such luck"):
        start_until_ready(TINY, tmp_path)
