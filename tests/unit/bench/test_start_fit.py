from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.start.fit import CONSTANTS, fit, squared_errors
from bench.start.measured import Row, read_rows
from soci.start.model import LayerLoad, NeededSpan, Program, Way, estimate
from soci.start.readers import MOUNT, SNAPSHOTTER, Network
from tests.docs.manual import ROOT

LAYER = LayerLoad(
    compressed_bytes=200_000_000,
    uncompressed_bytes=600_000_000,
    files=10_000,
    ztoc_bytes=5_000_000,
    needed=tuple(
        NeededSpan(number=2 * n, compressed_bytes=1_300_000, uncompressed_bytes=4 << 20) for n in range(60)
    ),
)


def measured(reader, program):
    """Rows as they would be measured if a reader had these constants."""
    rows = []
    for way in (Way.NO_INDEX, Way.LAZY, Way.PREFETCH):
        for trip, rate in ((0.001, 75e6), (0.02, 300e6)):
            network = Network(round_trip_seconds=trip, bandwidth_bytes_per_second=rate)
            made = estimate(way, [LAYER], program, network, reader)
            rows.append(
                Row(
                    start="app",
                    way=way,
                    layers=(LAYER,),
                    program=program,
                    network=network,
                    pull_seconds=(made.pull_seconds, made.pull_seconds),
                    run_seconds=(made.run_seconds, made.run_seconds),
                    seconds=(made.seconds, made.seconds),
                )
            )
    return rows


def test_constants_are_found_again_from_what_they_lead_to():
    wanted = replace(
        MOUNT,
        setup_seconds=1.7,
        unpack_bytes_per_second=90e6,
        span_bytes_per_second=400e6,
        prefetched_bytes_per_second=600e6,
        file_seconds=1e-3,
    )
    # Several programs: from one alone, files and prefetched bytes cannot be told apart.
    rows = [row for files in (10, 800, 3_000) for row in measured(wanted, Program(seconds=0.5, files=files))]

    found = fit(rows, MOUNT)

    assert squared_errors(rows, found) < 1e-3
    for name in CONSTANTS:
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=0.1), name


def test_the_snapshotters_constants_are_what_the_fit_finds():
    rows = read_rows(ROOT / "bench/start/snapshotter.json")

    found = fit(rows, SNAPSHOTTER)

    for name in CONSTANTS:
        assert getattr(found, name) == pytest.approx(getattr(SNAPSHOTTER, name), rel=0.05), name


def test_rows_say_alike_spans_once(tmp_path):
    span = {"span": 3, "step": 2, "count": 3, "compressed_bytes": 10, "uncompressed_bytes": 30}
    layer = {
        "compressed_bytes": 100,
        "uncompressed_bytes": 300,
        "files": 1,
        "ztoc_bytes": 5,
        "needed": [span],
    }
    row = {
        "start": "app",
        "way": "lazy",
        "round_trip_seconds": 0.02,
        "bandwidth_bytes_per_second": 1e6,
        "seconds": [3, 1, 2],
    }
    path = tmp_path / "rows.json"
    path.write_text(
        json.dumps({"starts": {"app": {"program_seconds": 1, "files": 2, "layers": [layer]}}, "rows": [row]})
    )

    (read,) = read_rows(path)

    assert [one.number for one in read.layers[0].needed] == [3, 5, 7]
    assert read.seconds == (1, 3)
    assert read.error(SNAPSHOTTER) == read.estimate(SNAPSHOTTER).seconds / 2 - 1
