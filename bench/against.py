"""`make bench AGAINST=REVISION`: this tree's command beside that of another revision, in one run.

The other revision is checked out to a temporary folder. Both use the packages of this environment, and take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.table import Table

from bench.layers import BenchLayer
from bench.turns import by_turns, cpu_seconds_of_processes, run

ROOT = Path(__file__).parent.parent


def compare(layers: Sequence[BenchLayer], revision: str, *, rounds: int) -> Table:
    """Index each layer by both commands, and return the table of times and ratios.

    Raises:
        SystemExit: the revision is unknown, or the two commands write different zTOCs.
    """
    table = Table(title=f"soci-index ztoc, shortest of {rounds} runs: below 1.00 this tree is faster")
    for column in (
        "layer",
        "this s",
        f"{revision} s",
        "ratio",
        "this CPU s",
        f"{revision} CPU s",
        "ratio of CPU",
    ):
        table.add_column(column, justify="left" if column == "layer" else "right")
    with checkout(revision) as other, tempfile.TemporaryDirectory() as folder:
        our_file, their_file = Path(folder, "ours"), Path(folder, "theirs")
        for layer in layers:
            ours, theirs = partial(_index, ROOT, layer, our_file), partial(_index, other, layer, their_file)
            by_turns(ours, theirs, rounds=1)  # compiles the modules
            if our_file.read_bytes() != their_file.read_bytes():
                raise SystemExit(f"{layer.name}: the two zTOCs differ")
            pairs = by_turns(
                ours, theirs, rounds=rounds, clocks=(time.perf_counter, cpu_seconds_of_processes)
            )
            cells = [(min(pair.ours), min(pair.floor), pair.best_ratio) for pair in pairs]
            table.add_row(layer.name, *(f"{number:.2f}" for row in cells for number in row))
    return table


def _index(root: Path, layer: BenchLayer, file: Path) -> None:
    command = [sys.executable, "-m", "soci", "ztoc", str(layer.path), "--output", str(file)]
    run(command, environment=os.environ | {"PYTHONPATH": str(root / "layers/soci/python")})


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Check a revision out to a folder that is there until the end of the block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tree")
        done = subprocess.run(
            [*git, "add", "--quiet", "--detach", str(path), revision],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"cannot check out {revision}: {done.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)
