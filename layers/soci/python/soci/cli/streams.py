"""Files that a command line names for input and output; `-` is standard input or output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from soci.errors import StorageError
from soci.places.layout.atomic_files import write_atomically
from soci.places.layout.extents import storage_errors

STANDARD_STREAM = Path("-")


def input_name(path: Path) -> Path:
    """Return the name of an input for messages."""
    return Path("standard input") if path == STANDARD_STREAM else path


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unbuffered, or standard input. Raises `StorageError`, also if standard input is closed."""
    if path == STANDARD_STREAM:
        if sys.stdin is None:  # Python's sign that it was closed
            raise StorageError("standard input is closed")
        yield sys.stdin.buffer
        return
    with storage_errors(path):
        file = path.open("rb", buffering=0)
    with file:
        yield file


def check_output(path: Path | None) -> None:
    """Check that a file can be made at a path: before a long run, not after it. Raises `StorageError`."""
    if path is not None and path != STANDARD_STREAM and not path.parent.is_dir():
        raise StorageError(f"{path}: the directory {path.parent} does not exist")


def write_output(path: Path | None, data: bytes | bytearray) -> None:
    """Write a file; without a path, or to `-`, write to standard output. Raises `StorageError`."""
    if path is None or path == STANDARD_STREAM:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    else:
        write_file(path, data)


def write_file(path: Path, data: bytes | bytearray) -> None:
    """Write a file whole or not at all. Links are followed; a device such as /dev/null is written to."""
    with storage_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            write_atomically(path.resolve(), (data,))
