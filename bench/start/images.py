"""The images of `layers.py`, made: each layer in an overlay over those below it, then an OCI layout.

Needs root, for owners of files and for the overlay.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from bench.start.layers import IMAGES, SITE, Layer
from bench.start.packages import (
    NODE_RED,
    PACKAGES,
    STORE,
    WHEELS,
    fetch_debs,
    fetch_wheels,
    locked_lines,
)
from soci.oci import gojson, media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.manifest import ImageManifest
from soci.places.layout.oci_layout import OciLayout

NEWEST_SECONDS = 1_767_225_600
"""1 January 2026: what a layer's making changed gets this time, so that it is the same each time."""

TAG = "1"
_MERGED_USR = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_LEFT_OUT = ("doc", "info", "lintian", "locale", "man")
"""Of /usr/share: what slim images leave out."""

_NEVER_THE_SAME = "var/cache/ldconfig/aux-cache"
"""Holds inode numbers. `ldconfig` writes it again when it is missing."""

_IN_ROOT = 'mount --rbind /dev "$0/dev"; exec chroot "$0" /bin/bash -ec "$1"'
_PIECE_BYTES = 1 << 20
_VERSION = 1  # of what this module writes; another makes all layers again


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLayer:
    """A layer on disk."""

    path: Path
    diff_id: Digest
    digest: Digest
    size_bytes: int


def image_layout(name: str) -> Path:
    """Return the OCI layout of an image; its tag is `TAG`. Only the first call makes it: some minutes for all images.

    Raises:
        SystemExit: a package cannot be had, or a command of a layer failed.
    """
    layers = layers_of(name)
    directory = STORE / "images" / name
    key = hashlib.sha256("".join(str(layer.digest) for layer in layers).encode()).hexdigest()
    mark = directory.with_suffix(".key")
    if not (directory.is_dir() and mark.exists() and mark.read_text() == key):
        shutil.rmtree(directory, ignore_errors=True)
        _write_layout(directory, layers)
        mark.write_text(key)
    return directory


def layers_of(name: str) -> list[MadeLayer]:
    """Return the layers of an image; make those that are missing."""
    return make_layers(IMAGES[name], STORE / "layers")


def make_layers(layers: Sequence[Layer], folder: Path) -> list[MadeLayer]:
    """Make the layers that are not in `folder`. A layer is kept by its recipe and by the recipes below it."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[MadeLayer] = []
    key = str(_VERSION)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        trees: list[Path] = []
        for layer in layers:
            key = hashlib.sha256(f"{key} {layer!r} {_locks(layer)}".encode()).hexdigest()[:16]
            path = folder / f"{layer.name}-{key}.tar.gz"
            if not path.exists():
                _unpack_missing(made, trees, Path(scratch))
                trees.append(Path(scratch, f"{len(trees)}"))
                trees[-1].mkdir()
                _make_tree(layer, trees)
                _pack(trees[-1], path)
            facts = json.loads(path.with_suffix(".json").read_text())
            made.append(
                MadeLayer(
                    path=path,
                    diff_id=Digest.parse(facts["diff_id"]),
                    digest=Digest.parse(facts["digest"]),
                    size_bytes=path.stat().st_size,
                )
            )
    return made


def _locks(layer: Layer) -> str:
    """Return the lock lines of a layer: other versions make another layer."""
    text = " ".join(locked_lines(PACKAGES)[layer.name]) if layer.packages else ""
    text += " ".join(locked_lines(WHEELS)[layer.wheels]) if layer.wheels else ""
    return text + ((NODE_RED / "package-lock.json").read_text() if layer.node_modules else "")


def _unpack_missing(made: Sequence[MadeLayer], trees: list[Path], scratch: Path) -> None:
    for layer in made[len(trees) :]:
        tree = scratch / str(len(trees))
        tree.mkdir()
        subprocess.run(["tar", "-xzpf", layer.path, "-C", tree, "--numeric-owner"], check=True)
        trees.append(tree)


def _make_tree(layer: Layer, trees: Sequence[Path]) -> None:
    with _overlay(trees) as root:
        if len(trees) == 1:
            for name, target in _MERGED_USR.items():
                (root / target).mkdir(parents=True, exist_ok=True)
                (root / name).symlink_to(target)
        if layer.packages:
            for deb in fetch_debs(layer.name):
                _unpack_deb(deb, root)
        if layer.wheels:
            for wheel in fetch_wheels(layer.wheels):
                _unpack_wheel(wheel, root / SITE)
        if layer.node_modules:
            _install_node_modules(root / layer.node_modules)
        for name, text in layer.files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        for command in layer.commands:
            _run_in(root, command)


@contextmanager
def _overlay(trees: Sequence[Path]) -> Iterator[Path]:
    """Mount trees over each other; what is written goes to the last."""
    *lower, upper = trees
    with tempfile.TemporaryDirectory(dir=upper.parent) as folder:
        root, work, empty = (Path(folder, name) for name in ("root", "work", "empty"))
        for path in (root, work, empty):
            path.mkdir()
        below = ":".join(map(str, [*reversed(lower), empty]))
        options = f"lowerdir={below},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)


def _unpack_deb(deb: Path, root: Path) -> None:
    content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    # Debian merges /bin into /usr/bin by links, but packages still hold /bin.
    command = ["tar", "-xpf", "-", "-C", str(root), "--keep-directory-symlink", "--numeric-owner"]
    command += [f"--exclude=./usr/share/{name}/*" for name in _LEFT_OUT]
    subprocess.run(command, stdin=content.stdout, check=True)
    if content.wait() != 0:
        raise SystemExit(f"{deb}: dpkg-deb cannot unpack it")


def _unpack_wheel(wheel: Path, site: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.infolist(), key=lambda one: one.filename):
            if member.is_dir():
                continue
            path = Path(archive.extract(member, site))
            path.chmod(0o755 if (member.external_attr >> 16) & 0o111 else 0o644)
            os.utime(path, (NEWEST_SECONDS, NEWEST_SECONDS))  # compiled modules name their sources' times


def _install_node_modules(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_RED / name, directory)
    command = ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-progress", "--loglevel=error"]
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    for name in ("package-lock.json", "node_modules/.package-lock.json"):
        (directory / name).unlink()  # may name a registry


def _run_in(root: Path, command: str) -> None:
    (root / "dev").mkdir(exist_ok=True)
    environment = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "HOME": "/root"}
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", _IN_ROOT, str(root), f"umask 022; {command}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"a command of an image failed: {command}\n{done.stderr}")


def _pack(tree: Path, path: Path) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as raw:
        writer = _Hashing(raw)
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=6, fileobj=cast("IO[bytes]", writer), mtime=0
        ) as zipped:
            content = _Hashing(zipped)
            with tarfile.open(
                fileobj=cast("IO[bytes]", content), mode="w|", format=tarfile.PAX_FORMAT
            ) as tar:
                _add_tree(tar, tree)
    facts = {
        "diff_id": f"sha256:{content.hash.hexdigest()}",
        "digest": f"sha256:{writer.hash.hexdigest()}",
    }
    path.with_suffix(".json").write_text(json.dumps(facts))
    partial.rename(path)


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self.hash = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._file.write(data)


def _add_tree(tar: tarfile.TarFile, tree: Path) -> None:
    links: dict[int, str] = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        kind = path.lstat()
        if stat.S_ISSOCK(kind.st_mode) or name == _NEVER_THE_SAME:
            continue
        if stat.S_ISCHR(kind.st_mode) and kind.st_rdev == 0:  # what an overlay writes for a removed file
            raise SystemExit(f"a layer removes /{name}, which is below it")
        info = tar.gettarinfo(path, arcname=name)
        info.mtime = min(int(info.mtime), NEWEST_SECONDS)
        info.uname = info.gname = ""
        if kind.st_nlink > 1 and stat.S_ISREG(kind.st_mode):
            first = links.setdefault(kind.st_ino, name)
            info.type, info.linkname = (tarfile.REGTYPE, "") if first == name else (tarfile.LNKTYPE, first)
            info.size = kind.st_size if first == name else 0
        if info.type == tarfile.REGTYPE:
            with path.open("rb") as file:
                tar.addfile(info, file)
        else:
            tar.addfile(info)


def _write_layout(directory: Path, layers: Sequence[MadeLayer]) -> None:
    layout = OciLayout(directory)
    descriptors = []
    for layer in layers:
        one = Descriptor(media_type=media_types.OCI_LAYER_GZIP, digest=layer.digest, size=layer.size_bytes)
        with layer.path.open("rb") as file:
            layout.push_blob(one, iter(lambda file=file: file.read(_PIECE_BYTES), b""))  # type: ignore[misc]
        descriptors.append(one)
    config = gojson.encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        }
    )
    manifest = ImageManifest(
        config=_push(layout, media_types.OCI_CONFIG, config), layers=tuple(descriptors)
    ).encode()
    root = _push(layout, media_types.OCI_MANIFEST, manifest)
    layout.push_root(root, TAG)


def _push(layout: OciLayout, media_type: str, data: bytes) -> Descriptor:
    descriptor = Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))
    layout.push_blob(descriptor, (data,))
    return descriptor
