"""`make bench`: compare the engine and the command with the fastest possible tools, in turns.

    engine   layer bytes in memory to zTOC bytes, checked: LayerIndexer
    floor    isal's igzip inflates the same bytes in the same process; no inflate is faster
    command  `soci-index ztoc FILE`, the whole process, against `gzip -dc FILE`
    memory   peak of that process without the zTOC

Times depend on the machine, so the table shows ratios: medians over rounds in which both take turns.
`make bench AGAINST=REVISION` compares the command with that of another revision instead (`bench/against.py`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from isal import isal_zlib
from rich.console import Console
from rich.table import Table

from bench.against import compare
from bench.layers import TIMED, BenchLayer, bench_layers
from bench.turns import by_turns, run
from soci.layer.worker import switch_threads_often
from soci.oci.compression import Compression
from soci.settings import DEFAULT_BUILD_TOOL_IDENTIFIER, DEFAULT_SPAN_SIZE_BYTES
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask

ROUNDS = 7
PIECE_BYTES = 1 << 20
GZIP_WINDOW_BITS = 31
BYTES_PER_MIB = 1 << 20
SOCI_INDEX = Path(sys.executable).with_name("soci-index")


def main() -> None:
    """Measure against the floors, or against another revision."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--against", metavar="REVISION", help="compare the command with another revision's")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--layers", nargs="+", choices=TIMED, default=TIMED)
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if arguments.against:
        layers = bench_layers(arguments.layers)
        console.print(compare(layers, arguments.against, rounds=arguments.rounds))
    else:
        measure(console, arguments.rounds)


def measure(console: Console, rounds: int) -> None:
    """Measure all layers against their floors and print the table."""
    switch_threads_often()  # as the command does
    layers = bench_layers()
    table = Table(title="Ratios of time: lower is better, 1.00 is the floor")
    for column in (
        "layer",
        "MB",
        "unpacked",
        "files",
        "engine s",
        "engine / igzip",
        "command / gzip -dc",
        "peak MiB",
    ):
        table.add_column(column, justify="left" if column == "layer" else "right")
    with console.status("measuring"):
        for layer in layers:
            table.add_row(*_measure(layer, rounds))
    console.print(table)
    console.print(
        f"{rounds} rounds, {os.cpu_count()} cores; peak is without the zTOC itself", highlight=False
    )


def _measure(layer: BenchLayer, rounds: int) -> tuple[str, ...]:
    data = layer.path.read_bytes()
    (engine,) = by_turns(lambda: _index(data), lambda: _inflate(data), rounds=rounds)
    indexed = _index(data)
    ztoc_command = [str(SOCI_INDEX), "ztoc", str(layer.path)]
    unpack_command = ["gzip", "-dc", str(layer.path)]
    (command,) = by_turns(lambda: run(ztoc_command), lambda: run(unpack_command), rounds=rounds)
    peak_bytes = _peak_bytes(ztoc_command) - len(indexed.ztoc)
    return (
        layer.name,
        f"{layer.compressed_bytes / 1e6:.0f}",
        f"{layer.uncompressed_bytes / 1e6:.0f}",
        f"{layer.files:,}",
        f"{statistics.median(engine.ours):.2f}",
        f"{engine.ratio:.2f}",
        f"{command.ratio:.2f}",
        f"{peak_bytes / BYTES_PER_MIB:.0f}",
    )


def _index(data: bytes) -> IndexedLayer:
    task = LayerTask(
        compression=Compression.GZIP,
        span_size_bytes=DEFAULT_SPAN_SIZE_BYTES,
        build_tool_identifier=DEFAULT_BUILD_TOOL_IDENTIFIER,
    )
    with LayerIndexer(task) as indexer:
        indexer.feed(data)
        indexed = indexer.finish()
    if not isinstance(indexed, IndexedLayer):
        raise SystemExit(f"a layer of the benchmark cannot be indexed: {indexed}")
    return indexed


def _inflate(data: bytes) -> None:
    inflater = isal_zlib.decompressobj(GZIP_WINDOW_BITS)
    view = memoryview(data)
    for at in range(0, len(view), PIECE_BYTES):
        inflater.decompress(view[at : at + PIECE_BYTES])
    if not inflater.eof:
        raise SystemExit("igzip did not reach the end of a layer")


def _peak_bytes(command: list[str]) -> int:
    """Run a process and return its peak memory.

    An intermediate process starts it: a direct child of this process would count this one's memory.
    """
    report = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(subprocess.check_output([sys.executable, "-c", report, *command])) * 1024


if __name__ == "__main__":
    main()
