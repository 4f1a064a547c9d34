"""The registry of the benchmark: this repository's own, in a process of its own, with the images of each way."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.start.images import TAG
from bench.start.ways import LAZY, PREFETCH, PULL, SOCI_INDEX, START_FIRST

_WAIT_SECONDS = 30.0


@contextmanager
def open_registry() -> Iterator[str]:
    """Run a registry without redirects. Gives its address and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "local.registry", "--plain", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def reference(host: str, way: str, workload: str) -> str:
    """Return where the image is that a way loads: the converted one of three ways, the plain one to pull."""
    return f"{host}/{way}/{workload}:{TAG}"


def push_plain(host: str, layout: Path, workload: str) -> None:
    """Push the image as it is, and with an index that names no prefetch."""
    destination = f"docker://{reference(host, PULL, workload)}"
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:{TAG}", destination]
    subprocess.run(copy, check=True)
    _convert(layout, reference(host, LAZY, workload), "--no-profile")


def push_with_profile(host: str, layout: Path, workload: str, profile: Path, ways: tuple[str, ...]) -> None:
    """Push the image with the prefetch of a profile, and with layers written anew, start files first."""
    for way, options in ((PREFETCH, ()), (START_FIRST, ("--start-first",))):
        if way in ways:
            _convert(layout, reference(host, way, workload), "--profile", str(profile), *options)


def _convert(layout: Path, destination: str, *options: str) -> None:
    command = [str(SOCI_INDEX), "convert", f"oci:{layout}:{TAG}", destination, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"soci-index convert failed: {done.stderr.strip()}")
