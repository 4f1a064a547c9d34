"""Mounting images in tests: the command in a process of its own, as at a terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MOUNT = (sys.executable, "-m", "soci", "mount")
SECONDS = 60.0

needs_fuse = pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="this machine has no /dev/fuse that can be opened"
)


@dataclass
class Mounted:
    """A mount that runs. `output` and `errors` are complete when it has ended."""

    directory: Path
    process: subprocess.Popen[str]
    output: str = ""
    errors: str = ""
    ready: str = field(default="")

    def end(self, number: signal.Signals | None = None) -> int:
        """End the mount by a signal, or by unmounting; return the exit status."""
        if number is None:
            unmount(self.directory)
        else:
            self.process.send_signal(number)
        self.output, self.errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode


def unmount(directory: Path) -> None:
    subprocess.run(["fusermount3", "-u", directory], check=True, capture_output=True)


@contextmanager
def mounted(image: object, directory: Path, *options: object) -> Iterator[Mounted]:
    """Mount an image at a directory, which is made, and end the mount with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [*MOUNT, str(image), str(directory), *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    stream = process.stderr if "--json" in options else process.stdout
    assert stream is not None
    ready = stream.readline() if select.select([stream], [], [], SECONDS)[0] else ""
    if not ready:
        process.terminate()
        _, errors = process.communicate(timeout=SECONDS)
        pytest.fail(f"not mounted, status {process.returncode}: {errors}")
    one = Mounted(directory=directory, process=process, ready=ready)
    try:
        yield one
        if process.poll() is None:
            assert one.end() == 0, one.errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        if os.path.ismount(directory) or is_dead(directory):
            subprocess.run(["fusermount3", "-uz", directory], check=False, capture_output=True)


def is_dead(directory: Path) -> bool:
    """Whether the process of a mount was killed."""
    try:
        directory.stat()
    except OSError:
        return True
    return False
