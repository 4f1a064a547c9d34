"""Pull and unpack, as containerd does it: `python -m bench.start.pull HOST/REPOSITORY:TAG DIRECTORY`.

Up to three layers are downloaded side by side, each to a file, hashed as it comes. A layer is unpacked when it and
all those below it are there, each into a directory of its own for the overlay. ISA-L inflates, faster than the gzip
of containerd or pigz, and GNU tar writes the files: the floor of what a node does, not the usual.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip_threaded

DOWNLOADS = 3
_PIECE_BYTES = 1 << 20
_ACCEPT = "application/vnd.oci.image.manifest.v1+json"


def main() -> None:
    """Pull an image; its layers are unpacked to DIRECTORY/0 (the lowest), DIRECTORY/1 and so on."""
    reference, directory = sys.argv[1:]
    host, _, name = reference.partition("/")
    repository, _, tag = name.rpartition(":")
    pull(host, repository, tag, Path(directory))


def pull(host: str, repository: str, tag: str, directory: Path) -> None:
    """Fetch manifest and config, then download and unpack the layers."""
    connection = http.client.HTTPConnection(host)
    manifest = _fetch_json(connection, f"/v2/{repository}/manifests/{tag}")
    _fetch_json(connection, f"/v2/{repository}/blobs/{manifest['config']['digest']}")
    with ThreadPoolExecutor(DOWNLOADS) as downloads:
        arriving = [
            downloads.submit(_download, host, repository, layer["digest"], directory / f"{number}.tar.gz")
            for number, layer in enumerate(manifest["layers"])
        ]
        _unpack_in_order(arriving, directory)


def _fetch_json(connection: http.client.HTTPConnection, path: str) -> Any:  # noqa: ANN401 - JSON
    connection.request("GET", path, headers={"Accept": _ACCEPT})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"{path}: got status {response.status}, want 200")
    return json.loads(response.read())


def _download(host: str, repository: str, digest: str, path: Path) -> Path:
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    response = connection.getresponse()
    hash_ = hashlib.sha256()
    with path.open("wb") as file:
        for piece in _pieces(response):
            hash_.update(piece)
            file.write(piece)
    if f"sha256:{hash_.hexdigest()}" != digest:
        raise SystemExit(f"{digest}: the bytes that came have another digest")
    return path


def _pieces(response: http.client.HTTPResponse) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    while size := response.readinto(buffer):
        yield buffer[:size]


def _unpack_in_order(arriving: list[Future[Path]], directory: Path) -> None:
    for number, layer in enumerate(arriving):
        path = layer.result()
        tree = directory / str(number)
        tree.mkdir()
        tar = subprocess.Popen(
            ["tar", "-xpf", "-", "--numeric-owner", "-C", tree], stdin=subprocess.PIPE, bufsize=0
        )
        _inflate(path, cast("IO[bytes]", tar.stdin))
        if tar.wait() != 0:
            raise SystemExit(f"{path.name}: tar cannot unpack it")


def _inflate(path: Path, sink: IO[bytes]) -> None:
    """Inflate in one thread, read the file in another."""
    content = igzip_threaded.open(path, "rb", threads=1)  # type: ignore[no-untyped-call]
    with content, sink:
        while piece := content.read(_PIECE_BYTES):
            sink.write(piece)


if __name__ == "__main__":
    main()
