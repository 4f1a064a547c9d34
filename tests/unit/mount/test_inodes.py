from __future__ import annotations

import os
import stat
from typing import Any

import pytest

from soci.image.filesystem import FileSystem
from soci.mount.inodes import InodeTable, attributes_of, time_ns_of
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.model import FileEntry
from tests.builders import device, directory, file, gzip_of, hardlink, index_layer, symlink, tar_of


def entries_of(*members) -> tuple[FileEntry, ...]:
    return decode_ztoc(index_layer(gzip_of(tar_of(*members))).ztoc).files


def table_of(*layers) -> InodeTable:
    return InodeTable(FileSystem.of(layers))


def entry(name: str | bytes, type_: str = "reg", **fields: Any) -> FileEntry:
    found = entries_of(file("x"))[0]
    return found._replace(name=name.encode() if isinstance(name, str) else name, type=type_, **fields)


def stat_of(table: InodeTable, path: bytes) -> dict[str, int]:
    inode = table.find(path)
    assert inode is not None
    return dict(attributes_of(inode))


def test_numbers_follow_the_sorted_paths():
    table = table_of(entries_of(file("b"), directory("a"), file("a/z")))

    paths = [b"/", b"/a", b"/a/z", b"/b"]
    assert [stat_of(table, path)["st_ino"] for path in paths] == [1, 2, 3, 4]
    assert [inode.path for inode in table.inodes] == paths


def test_a_path_is_found_from_the_root():
    table = table_of(entries_of(file("a/b"), file("c")))

    assert table.find(b"/") is table.root
    assert table.find(b"/a/b") is not None
    assert table.find(b"/a/none") is None
    assert table.find(b"/c/none") is None


def test_names_that_are_links_of_each_other_share_an_inode():
    table = table_of(entries_of(file("a", b"x"), hardlink("b", "a"), file("c", b"x")))

    assert table.find(b"/a") is table.find(b"/b")
    assert stat_of(table, b"/a")["st_nlink"] == 2
    assert stat_of(table, b"/c")["st_nlink"] == 1


def test_links_count_only_the_names_that_are_there():
    lower = entries_of(file("a", b"x"), hardlink("b", "a"))
    table = table_of(lower, entries_of(file("a", b"new")))

    assert stat_of(table, b"/b")["st_nlink"] == 1
    assert table.find(b"/a") is not table.find(b"/b")


def test_one_layer_twice_is_one_set_of_files():
    layer = entries_of(file("a", b"x"), hardlink("b", "a"))

    assert stat_of(table_of(layer, layer), b"/a")["st_nlink"] == 2


def test_a_directory_counts_its_directories():
    table = table_of(entries_of(directory("a"), directory("a/b"), directory("a/c"), file("a/d")))

    assert stat_of(table, b"/a")["st_nlink"] == 4
    assert stat_of(table, b"/")["st_nlink"] == 3


def test_a_directory_that_no_entry_describes_has_usual_attributes():
    shown = stat_of(table_of(entries_of(file("a/b"))), b"/a")

    assert shown["st_mode"] == stat.S_IFDIR | 0o755
    assert "st_uid" not in shown


def test_attributes_are_those_of_the_entry():
    shown = stat_of(table_of(entries_of(file("a", b"x" * 5000, mode=0o4755, uid=7, gid=8, mtime=9))), b"/a")

    assert shown["st_mode"] == stat.S_IFREG | 0o4755
    assert (shown["st_uid"], shown["st_gid"], shown["st_size"]) == (7, 8, 5000)
    assert shown["st_mtime"] == 9_000_000_000
    assert shown["st_blocks"] == 16


def test_a_link_has_the_size_of_its_target_and_a_device_its_numbers():
    table = table_of(entries_of(symlink("link", "target"), device("null", 1, 3)))

    assert stat_of(table, b"/link")["st_size"] == 6
    assert stat_of(table, b"/null")["st_rdev"] == os.makedev(1, 3)


@pytest.mark.parametrize(("major", "minor"), [(-1, 0), (1 << 12, 0), (0, 1 << 20), (0, -1)])
def test_a_device_that_linux_cannot_have_has_no_number(major, minor):
    table = table_of((entry("a", "char", device_major=major, device_minor=minor),))

    assert stat_of(table, b"/a")["st_rdev"] == 0


def test_extended_attributes_are_found_among_the_pax_records():
    records = ((b"SCHILY.xattr.", b"?"), (b"SCHILY.xattr.user.a", b"1"), (b"comment", b"no"))
    table = table_of((entry("a", xattrs=records), entry("b", xattrs=records[2:])))

    assert [inode.xattrs for inode in table.inodes[1:]] == [{b"user.a": b"1"}, {}]
    assert table.has_xattrs
    assert not table_of((entry("b", xattrs=records[2:]),)).has_xattrs


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (entry("lost", "hardlink", link_name=b"none"), "a hard link to a file that the image does not have"),
        (entry("n" * 256), "its name has 256 bytes, Linux allows 255"),
        (entry(b"a\0b"), "its name has a zero byte"),
    ],
    ids=["link", "long", "zero"],
)
def test_what_linux_cannot_show_is_left_out_with_a_reason(bad, reason):
    table = table_of((bad, entry("good")))

    assert [inode.path for inode in table.inodes] == [b"/", b"/good"]
    assert table.left_out == [(b"/" + bad.name, reason)]


def test_the_content_of_a_directory_that_is_left_out_is_left_out_too():
    table = table_of((entry("n" * 300 + "/below"), entry("good")))

    assert [inode.path for inode in table.inodes] == [b"/", b"/good"]


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.000000001Z", 1_000_000_001),
        ("1969-12-31T23:59:58.5Z", -1_500_000_000),
        ("2023-11-14T22:13:20.1234567891Z", 1_700_000_000_123_456_789),
        ("1970-01-01T09:00:00+09:00", 0),
        ("1970-01-01T09:00:00.25+09:00", 250_000_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000_000_000),
        ("", 0),
        ("yesterday", 0),
        ("2023-13-01T00:00:00Z", 0),
    ],
)
def test_times_are_nanoseconds(text, time_ns):
    assert time_ns_of(text) == time_ns
