from __future__ import annotations

import subprocess
import sys

import pytest

from soci.errors import StorageError
from soci.places.layout.atomic_files import fsync_directory, locked_directory, write_atomically


def test_a_file_replaces_an_older_one_atomically(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    write_atomically(path, iter([b"ne", b"", b"w"]))

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def chunks():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, chunks())

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_a_storage_error(tmp_path):
    absent = tmp_path / "absent"

    with pytest.raises(StorageError, match="No such file or directory"):
        write_atomically(absent / "f", [b""])
    with pytest.raises(StorageError, match=f"{absent}: No such file or directory"):
        fsync_directory(absent)
    with pytest.raises(StorageError, match=f"{absent}: No such file or directory"), locked_directory(absent):
        pass


def test_another_process_waits_for_the_lock(tmp_path):
    program = (
        "import pathlib, sys\n"
        "from soci.places.layout.atomic_files import locked_directory\n"
        "print('ready', flush=True)\n"
        "with locked_directory(pathlib.Path(sys.argv[1])):\n"
        "    print(pathlib.Path(sys.argv[1], 'f').exists())\n"
    )
    with locked_directory(tmp_path):
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.2)
        (tmp_path / "f").touch()

    assert other.communicate(timeout=10)[0] == "True\n"
