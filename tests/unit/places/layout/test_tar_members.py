from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from soci.errors import SourceError, StorageError
from soci.places.layout import tar_members
from soci.places.layout.tar_members import TarMembers
from tests.image_files import tar_of


def open_members(tmp_path: Path, data: bytes) -> TarMembers:
    (tmp_path / "a.tar").write_bytes(data)
    return TarMembers(tmp_path / "a.tar")


def content_of(members: TarMembers, name: str) -> bytes | None:
    extent = members.find(name)
    return None if extent is None else extent.fetch(0, extent.size)


def test_members_are_read_in_place(tmp_path):
    members = open_members(tmp_path, tar_of({"a": b"1" * 700, "b/c": b"", "d": b"2"}))

    assert [content_of(members, name) for name in ("a", "b/c", "d")] == [b"1" * 700, b"", b"2"]
    assert members.find("e") is None


@pytest.mark.parametrize("name", ["a/b", "./a/b", "/a/b", "a//b", "a/./b"])
@pytest.mark.parametrize("asked", ["a/b", "./a/b"])
def test_names_are_the_same_with_and_without_a_leading_dot(tmp_path, name, asked):
    assert content_of(open_members(tmp_path, tar_of({name: b"1"})), asked) == b"1"


def test_the_last_of_equal_names_counts(tmp_path):
    data = tar_of({"a": b"first", "./a": b"second"})

    assert content_of(open_members(tmp_path, data), "a") == b"second"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_are_read(tmp_path, form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        member = tarfile.TarInfo("d" * 200 + "/f")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))

    assert content_of(open_members(tmp_path, buffer.getvalue()), "d" * 200 + "/f") == b"1"


def test_links_inside_the_archive_are_followed(tmp_path):
    files: dict[str, bytes | str] = {
        "x/layer.tar": "../y.tar",
        "y.tar": b"1",
        "z": "hard:x/layer.tar",
        "w": "z",
    }
    members = open_members(tmp_path, tar_of(files))

    assert {name: content_of(members, name) for name in files} == dict.fromkeys(files, b"1")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"a": "b"}, id="to nothing"),
        pytest.param({"a": "a"}, id="to itself"),
        pytest.param({"a": "b", "b": "a"}, id="in a circle"),
        pytest.param({"a": "../../etc/passwd"}, id="out of the archive"),
        pytest.param({"a": "/etc/passwd"}, id="to an absolute path"),
    ],
)
def test_a_link_without_a_target_is_no_file(tmp_path, files):
    assert open_members(tmp_path, tar_of(files)).find("a") is None


@pytest.mark.parametrize(
    ("compress", "advice"),
    [
        pytest.param(gzip.compress, "compressed with gzip.*: gunzip --keep a.tar", id="gzip"),
        pytest.param(bz2.compress, "compressed with bzip2.*: bunzip2 --keep a.tar", id="bzip2"),
        pytest.param(lzma.compress, "compressed with xz.*: unxz --keep a.tar", id="xz"),
        pytest.param(zstandard.compress, "compressed with zstd.*: unzstd a.tar", id="zstd"),
    ],
)
def test_a_compressed_archive_is_refused_with_advice(tmp_path, compress, advice):
    with pytest.raises(SourceError, match=advice):
        open_members(tmp_path, compress(tar_of({"a": b"1"})))


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 2000], ids=["empty", "one byte", "no headers"])
def test_a_file_that_is_no_tar_is_refused(tmp_path, data):
    with pytest.raises(SourceError, match="not a readable tar file"):
        open_members(tmp_path, data)


def with_header(data: bytes, position: int, field: bytes) -> bytes:
    """Write into the first header and mend its checksum."""
    header = bytearray(data[:512])
    header[position : position + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(b"77777777777\0", id="8 GiB"),
        pytest.param(b"\x80" + b"\x7f" * 11, id="more than any disk"),
        pytest.param(b"\xff" * 12, id="minus one"),
        pytest.param(b"\xff" * 10 + b"\0\0", id="negative, back to the start"),
    ],
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"g"], ids=["file", "pax", "long name", "global"])
def test_a_member_larger_than_the_file_is_refused(tmp_path, size, kind):
    data = with_header(with_header(tar_of({"a": b"1"}), 124, size), 156, kind)

    with pytest.raises(SourceError, match="not a readable tar file"):
        open_members(tmp_path, data)


def test_headers_larger_than_the_budget_are_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"comment": "x" * tar_members.MAX_HEADER_BYTES}
        archive.addfile(member)

    with pytest.raises(SourceError, match="headers of more than 1048576 bytes for one member"):
        open_members(tmp_path, buffer.getvalue())


def test_long_names_nested_without_end_are_refused(tmp_path):
    long_name = with_header(tar_of({"a": b"1"})[:1024], 156, b"L")

    with pytest.raises(SourceError, match="not a readable tar file"):
        open_members(tmp_path, long_name * 1000)


def test_a_tar_with_too_many_members_is_refused(tmp_path):
    member = tar_of({"a": b""})[:512]

    with pytest.raises(SourceError, match="more than 100000 members"):
        open_members(tmp_path, member * (tar_members.MAX_MEMBERS + 1))


def test_a_path_that_is_no_regular_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"/dev/null: not a regular file"):
        TarMembers(Path(os.devnull))
    with pytest.raises(StorageError, match="Is a directory"):
        TarMembers(tmp_path)
    with pytest.raises(StorageError, match=r"absent\.tar: No such file or directory"):
        TarMembers(tmp_path / "absent.tar")
