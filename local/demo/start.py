"""The start of a container, made visible: the indexed image is mounted, a program runs in it, and its reads are shown.

The first start is recorded. The record goes to the registry as the image's start profile, the service makes the index
again with it, and the second start finds what it needs prefetched. Each start has an empty cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from local.demo.reader import SOCI_INDEX, DemoFailed, Reader
from local.sample_program import GREETING, IMPORTS, program_command, program_environment

ROUND_TRIP_SECONDS = 0.020
_MOUNT_SECONDS = 60
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStart:
    """One start with an empty cache."""

    mount_seconds: float
    run_seconds: float
    bytes_fetched: int
    requests: int

    @property
    def seconds(self) -> float:
        """From the command until the program is ready."""
        return self.mount_seconds + self.run_seconds

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s (mount {self.mount_seconds:.2f}, program {self.run_seconds:.2f}), "
            f"{self.bytes_fetched / _MB:.1f} MB in {self.requests} requests"
        )


def why_no_mount() -> str | None:
    """Tell why this machine cannot mount an image; None if it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "this machine has no /dev/fuse that this user may open"
    try:
        import mfusepy  # noqa: F401, PLC0415 - it raises when the machine lacks libfuse
    except (ImportError, OSError):
        return "this machine lacks libfuse: apt-get install fuse3"
    return None


def show_first_start(console: Console, reader: Reader, image: str, profile: Path) -> MeasuredStart:
    """Start the program lazily, record what it reads, and show that."""
    console.print(f"   $ soci-index mount {image} DIR --record {profile.name}", style="cyan", soft_wrap=True)
    measured = start_program(reader, image, "--record", str(profile))
    console.print(f"   python -c 'import {IMPORTS}'", style="dim", soft_wrap=True, markup=False)
    console.print(f"   {measured}\n", soft_wrap=True)
    console.print(f"   $ soci-index profile show {image} {profile.name}", style="cyan", soft_wrap=True)
    for line in reader.output("profile", "show", image, str(profile)).splitlines():
        console.print(f"   {line}", markup=False, soft_wrap=True)
    return measured


def show_second_start(console: Console, reader: Reader, image: str, first: MeasuredStart) -> None:
    """Start the program with prefetch, and compare it with the first start."""
    console.print(f"   $ soci-index mount {image} DIR --prefetch", style="cyan", soft_wrap=True)
    second = start_program(reader, image, "--prefetch")
    console.print(f"   {second}", soft_wrap=True)
    console.print(
        f"   The start took [bold]{second.seconds:.2f} s[/] with prefetch, [bold]{first.seconds:.2f} s[/] without, at "
        f"a round trip of {ROUND_TRIP_SECONDS * 1000:.0f} ms\n",
        soft_wrap=True,
    )


def start_program(reader: Reader, image: str, *options: str) -> MeasuredStart:
    """Mount an image with an empty cache, run the program in it, unmount. Raises DemoFailed."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "root")
        root.mkdir()
        command = [str(SOCI_INDEX), "mount", image, str(root), "--json", *options]
        began = time.perf_counter()
        mount = subprocess.Popen(
            command, env=reader.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            _wait_until_mounted(mount, root)
            mounted = time.perf_counter()
            _run_program(root)
            ended = time.perf_counter()
        finally:
            mount.terminate()
            output, errors = mount.communicate(timeout=_MOUNT_SECONDS)
    if mount.returncode:
        raise DemoFailed(f"soci-index mount: {errors.strip()}")
    counts = json.loads(output)
    return MeasuredStart(
        mount_seconds=mounted - began,
        run_seconds=ended - mounted,
        bytes_fetched=counts["bytes_fetched"],
        requests=counts["requests"],
    )


def _wait_until_mounted(mount: subprocess.Popen[str], root: Path) -> None:
    deadline = time.monotonic() + _MOUNT_SECONDS
    while not os.path.ismount(root):
        if mount.poll() is not None:
            raise DemoFailed(f"soci-index mount: {mount.stderr.read().strip() if mount.stderr else ''}")
        if time.monotonic() > deadline:
            raise DemoFailed(f"soci-index mount: nothing is mounted after {_MOUNT_SECONDS} s")
        time.sleep(0.005)


def _run_program(root: Path) -> None:
    environment = {**os.environ, **program_environment(root)}
    done = subprocess.run(program_command(root), env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.startswith(GREETING):
        raise DemoFailed(f"the program in the mount: exit status {done.returncode}, {done.stderr.strip()}")
