"""Reproducible folders: the same content gives the same bytes, modes and times."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MADE_AT = 315_532_800  # 1980-01-01, the earliest date of a zip entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A built folder, the digest of its content and the sum of its files' sizes."""

    path: Path
    digest: str
    size_bytes: int


def read_tree(path: Path) -> Tree:
    """Read a whole folder. The digest covers names, modes and bytes, but not times."""
    digest = hashlib.sha256()
    size_bytes = 0
    for file in files_in(path):
        content = file.read_bytes()
        size_bytes += len(content)
        line = f"{file.relative_to(path).as_posix()}\0{file.stat().st_mode & 0o777:o}\0{len(content)}\0"
        digest.update(line.encode() + content)
    return Tree(path=path, digest=digest.hexdigest(), size_bytes=size_bytes)


def files_in(path: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted by path."""
    yield from sorted(file for file in path.rglob("*") if not file.is_dir())


def is_source(file: Path, *, within: Path, leave_out: Iterable[str] = ()) -> bool:
    """Tell whether a file of a source folder is to be packaged; `leave_out` are names at the top of the folder."""
    parts = file.relative_to(within).parts
    return parts[0] not in leave_out and "__pycache__" not in parts and file.suffix != ".pyc"


def copy_files(files: Iterable[Path], *, source: Path, destination: Path) -> None:
    """Copy files, keeping their paths relative to `source`."""
    for file in files:
        copy = destination / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def make_plain(path: Path) -> None:
    """Set fixed times, and modes readable by all, which Lambda needs."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            file = Path(folder, name)
            file.chmod(0o644)
            os.utime(file, (_MADE_AT, _MADE_AT))
        Path(folder).chmod(0o755)
        os.utime(folder, (_MADE_AT, _MADE_AT))
