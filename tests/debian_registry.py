"""Debian's docker-registry, running for as long as a test needs it: a registry that nobody here has written."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  delete: {{enabled: true}}
http: {{addr: "{host}"}}
"""
_PATIENCE_SECONDS = 20


@contextmanager
def debian_registry(directory: Path) -> Iterator[str]:
    """Run one on a free port of this machine, with its data in a directory; give its host."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = "{}:{}".format(*free.getsockname())
    config, log = directory / "config.yml", directory / "log"
    config.write_text(_CONFIG.format(directory=directory, host=host))
    with log.open("wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=output, stderr=output)
    try:
        _wait(process, host, log)
        yield host
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}/v2/"):
                return
        except URLError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
