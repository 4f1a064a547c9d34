from __future__ import annotations

import errno
import logging

import pytest

from soci.errors import BlobMissing
from soci.image.filesystem import FileSystem
from soci.mount.inodes import Inode, InodeTable
from soci.mount.operations import ImageOperations
from tests.builders import directory, file, gzip_of, image_of, symlink, tar_of, text, with_soci_index
from tests.unit.mount.stores import fail_with, source_of, store_of

BIG = text(200_000)
IMAGE = with_soci_index(
    image_of(
        gzip_of(
            tar_of(
                directory("etc"),
                file("etc/b", b"b"),
                file("etc/a", b"a", pax_headers={"SCHILY.xattr.user.note": "noted"}),
                symlink("link", "etc/a"),
                file("big", BIG),
                file("empty"),
            )
        )
    )
)


class Watcher:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def began(self) -> None:
        self.calls.append(("began",))

    def ended(self, path: bytes, inode: Inode, offset: int, size: int) -> None:
        self.calls.append((path, inode.path, offset, size))


@pytest.fixture
def source():
    return source_of(IMAGE)


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def operations(source, watcher, tmp_path):
    with store_of(source, tmp_path) as store:
        table = InodeTable(FileSystem.of([layer.entries for layer in store.layers]))
        yield ImageOperations(table, store, watcher=watcher)


def test_a_directory_lists_itself_its_parent_and_its_names(operations):
    root, etc = operations.table.root, operations.inode(b"/etc")

    assert [(name, inode) for name, inode in operations.readdir(b"/etc")][:2] == [(b".", etc), (b"..", root)]
    assert [name for name, _ in operations.readdir(b"/etc")] == [b".", b"..", b"a", b"b"]
    assert next(inode for name, inode in operations.readdir(b"/") if name == b"..") is root


def test_a_file_is_read_in_parts(operations):
    assert operations.read(b"/big", 0, 10) == BIG[:10]
    assert operations.read(b"/big", 100_000, 50_000) == BIG[100_000:150_000]
    assert operations.read(b"/big", 199_990, 100) == BIG[-10:]
    assert operations.read(b"/big", 300_000, 10) == b""
    assert operations.read(b"/empty", 0, 10) == b""


def test_a_link_tells_its_target(operations):
    assert operations.readlink(b"/link") == b"etc/a"


def test_extended_attributes_are_read(operations):
    assert operations.listxattr(b"/etc/a") == [b"user.note"]
    assert operations.getxattr(b"/etc/a", b"user.note") == b"noted"
    assert operations.listxattr(b"/big") == []


@pytest.mark.parametrize(
    ("ask", "number"),
    [
        (lambda one: one.read(b"/none", 0, 1), errno.ENOENT),
        (lambda one: one.read(b"/etc", 0, 1), errno.EINVAL),
        (lambda one: one.readlink(b"/big"), errno.EINVAL),
        (lambda one: list(one.readdir(b"/big")), errno.ENOTDIR),
        (lambda one: one.getxattr(b"/big", b"user.none"), errno.ENODATA),
    ],
    ids=["no file", "read a directory", "no link", "no directory", "no attribute"],
)
def test_what_cannot_be_answered_has_the_usual_error(ask, number, operations):
    with pytest.raises(OSError, match=r".") as raised:
        ask(operations)

    assert raised.value.errno == number


def test_a_read_that_fails_gives_eio_and_one_line_and_the_next_one_tries_again(operations, source, caplog):
    source.before = fail_with(BlobMissing("the registry has no such blob"))
    with caplog.at_level(logging.WARNING, logger="soci.mount"):
        for _ in range(2):  # the kernel asks for one page when reading ahead fails
            with pytest.raises(OSError, match="unreadable") as raised:
                operations.read(b"/big", 0, 4096)
            assert raised.value.errno == errno.EIO

    [line] = [record.getMessage() for record in caplog.records]
    layer = operations.table.inodes[0].layer
    assert layer == 0
    assert line.startswith("/big: bytes 0 to 4096: layer sha256:")
    assert ": span 0 (bytes " in line
    assert line.endswith("cannot be read: the registry has no such blob")
    source.before = lambda _start, _end: None
    assert operations.read(b"/big", 0, 4096) == BIG[:4096]


def test_a_watcher_is_told_of_each_read(operations, source, watcher):
    source.before = fail_with(BlobMissing("gone"))
    with pytest.raises(OSError, match="unreadable"):
        operations.read(b"/big", 150_000, 10)
    source.before = lambda _start, _end: None
    operations.read(b"/big", 150_000, 10)

    began = ("began",)
    assert watcher.calls == [began, (b"/big", b"/big", 150_000, 0), began, (b"/big", b"/big", 150_000, 10)]
