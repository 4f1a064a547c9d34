"""The start of a container, made visible: the indexed image is mounted, a program runs in it, and its reads are shown.

The first start is recorded. The record goes to the registry as the image's start profile, the service makes the index
again with it, and the second start finds what it needs prefetched. Each start has an empty cache.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
        began = time.perf_counter()
        with _mounted(image, root, options, reader.environment) as mount:
            mounted = time.perf_counter()
            environment = {**os.environ, **program_environment(root)}
            done = subprocess.run(
                program_command(root), env=environment, capture_output=True, text=True, check=False
            )
            ended = time.perf_counter()
        if done.returncode or not done.stdout.startswith(GREETING):
            raise DemoFailed(
                f"the program in the mount: exit status {done.returncode}, {done.stderr.strip()}"
            )
        counts = json.loads(mount.stdout.read() if mount.stdout else "")
    return MeasuredStart(
        mount_seconds=mounted - began,
        run_seconds=ended - mounted,
        bytes_fetched=counts["bytes_fetched"],
        requests=counts["requests"],
    )


@contextmanager
def _mounted(
    image: str, root: Path, options: tuple[str, ...], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run `soci-index mount` until the block ends."""
    command = [str(SOCI_INDEX), "mount", image, str(root), "--json", *options]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as mount:
        try:
            _wait_until_mounted(mount, root)
            yield mount
        finally:
            with suppress(ProcessLookupError):
                mount.send_signal(signal.SIGTERM)
            mount.wait(_MOUNT_SECONDS)


def _wait_until_mounted(mount: subprocess.Popen[str], root: Path) -> None:
    deadline = time.monotonic() + _MOUNT_SECONDS
    while not os.path.ismount(root):
        if mount.poll() is not None or time.monotonic() > deadline:
            reason = mount.stderr.read() if mount.poll() is not None and mount.stderr else "no answer"
            raise DemoFailed(f"soci-index mount: {reason.strip()}")
        time.sleep(0.005)
