"""Debian's docker-registry, run for the length of a test: a registry that is not ours."""

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
  delete: {{enabled: {deletes}}}
http: {{addr: "{host}"}}
"""
_PATIENCE_SECONDS = 20


@contextmanager
def debian_registry(directory: Path, *, deletes: bool = True) -> Iterator[str]:
    """Run one on a free port of this machine, with its data in a directory; yields its host.

    As it comes from Debian it does not delete.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = "{}:{}".format(*free.getsockname())
    config, log = directory / "config.yml", directory / "log"
    config.write_text(_CONFIG.format(directory=directory, host=host, deletes=str(deletes).lower()))
    with log.open("wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=output, stderr=output)
    try:
        _wait(process, host, log)
        yield host
    finally:
        process.terminate()
        process.wait()


def manifests_in(directory: Path, repository: str) -> set[str]:
    """The digests of all manifests that the registry of a directory holds, tagged or not."""
    revisions = directory / "data/docker/registry/v2/repositories" / repository / "_manifests/revisions"
    return {f"{link.parent.parent.name}:{link.parent.name}" for link in revisions.glob("*/*/link")}


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
