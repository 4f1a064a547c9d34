"""One start of a workload: in a root that it may write to, in namespaces of its own, timed until it is ready."""

from __future__ import annotations

import http.client
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from bench.start.workloads import Workload

LIMIT_SECONDS = 120.0

_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--kill-child=KILL", "--")
_SET_UP = """\
ip link set lo up
mount --rbind /dev "$0/dev"
mount -t proc proc "$0/proc"
exec chroot "$@"
"""
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_ASK_EVERY_SECONDS = 0.002


@contextmanager
def writable(lower: Sequence[Path], scratch: Path) -> Iterator[Path]:
    """Mount directories over each other, the lowest first, with a tmpfs on top for what a program writes."""
    memory, root = scratch / "written", scratch / "root"
    memory.mkdir()
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", memory], check=True)
    try:
        (memory / "upper").mkdir()
        (memory / "work").mkdir()
        below = ":".join(str(path) for path in reversed(lower))
        options = f"lowerdir={below},upperdir={memory / 'upper'},workdir={memory / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)
    finally:
        subprocess.run(["umount", memory], check=True)


def start_until_ready(workload: Workload, root: Path) -> None:
    """Start the program, wait until it is ready, and end it with all that it started.

    Raises:
        SystemExit: it ended first, or is not ready after `LIMIT_SECONDS`; with the last lines it printed.
    """
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # as container runtimes do
    chroot = [str(root)] if workload.user is None else [f"--userspec={workload.user}", str(root)]
    process = subprocess.Popen(
        [*_NAMESPACES, "sh", "-ec", _SET_UP, str(root), *chroot, *workload.command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_ENVIRONMENT,
        start_new_session=True,
    )
    output = cast("IO[bytes]", process.stdout)
    try:
        printed = _wait(workload, root, output)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.close()
    if printed is not None:
        last = "\n".join(printed.splitlines()[-10:])
        raise SystemExit(f"{workload.name} did not become ready; it printed:\n{last}")


def _wait(workload: Workload, root: Path, output: IO[bytes]) -> str | None:
    """Return when it is ready, or what it has printed when it will not be."""
    end = time.monotonic() + LIMIT_SECONDS
    printed = b""
    wanted = None if workload.ready_line is None else workload.ready_line.encode()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while time.monotonic() < end:
            if workload.ready_socket is not None and _answers(root / workload.ready_socket):
                return None
            if selector.select(1.0 if wanted else _ASK_EVERY_SECONDS):
                data = os.read(output.fileno(), 1 << 16)
                printed += data
                if wanted is not None and wanted in printed:
                    return None
                if not data:
                    break
    return printed.decode(errors="replace")


def _answers(path: Path) -> bool:
    if not path.is_socket():
        return False
    connection = http.client.HTTPConnection("localhost")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection.sock:
            connection.sock.connect(str(path))
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
