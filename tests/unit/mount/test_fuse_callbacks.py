"""The callbacks, called as libfuse calls them."""

from __future__ import annotations

import ctypes
import errno
import logging
import stat
from contextlib import ExitStack

import pytest

from soci.image.filesystem import FileSystem
from soci.mount.fuse_callbacks import FuseCallbacks
from soci.mount.fuse_library import load_fuse
from soci.mount.inodes import InodeTable
from soci.mount.operations import ImageOperations
from tests.builders import directory, file, gzip_of, image_of, symlink, tar_of, with_soci_index
from tests.unit.mount.stores import source_of, store_of

FUSE = load_fuse()
NOTED = {"SCHILY.xattr.user.note": "noted"}


@pytest.fixture
def made(tmp_path):
    """Make the callbacks of an image of some files; a list notes when they are ready."""
    ready: list[bool] = []

    def make(*members):
        image = with_soci_index(image_of(gzip_of(tar_of(*members))))
        store = stores.enter_context(store_of(source_of(image), tmp_path))
        table = InodeTable(FileSystem.of([layer.entries for layer in store.layers]))
        return FuseCallbacks(FUSE, ImageOperations(table, store), on_ready=lambda: ready.append(True)), ready

    with ExitStack() as stores:
        yield make


@pytest.fixture
def callbacks(made):
    return made(
        directory("etc", mode=0o711), file("etc/a", b"content", pax_headers=NOTED), symlink("link", "etc/a")
    )[0]


def test_stat_fills_the_structure(callbacks):
    found = FUSE.c_stat()

    assert callbacks.structure.getattr(b"/etc", ctypes.byref(found), None) == 0
    assert found.st_mode == stat.S_IFDIR | 0o711
    assert callbacks.structure.getattr(b"/none", ctypes.byref(found), None) == -errno.ENOENT


def test_a_read_fills_the_buffer(callbacks):
    buffer = (ctypes.c_byte * 100)()

    assert callbacks.structure.read(b"/etc/a", buffer, 100, 3, None) == 4
    assert bytes(buffer[:5]) == b"tent\0"
    assert callbacks.structure.read(b"/etc", buffer, 100, 0, None) == -errno.EINVAL


def test_a_link_is_cut_to_the_buffer_and_ends_with_zero(callbacks):
    buffer = (ctypes.c_byte * 100)(*b"x" * 100)

    assert callbacks.structure.readlink(b"/link", buffer, 100) == 0
    assert bytes(buffer[:7]) == b"etc/a\0x"
    assert callbacks.structure.readlink(b"/link", buffer, 4) == 0
    assert bytes(buffer[:4]) == b"etc\0"


def test_attributes_are_measured_first(callbacks):
    buffer = (ctypes.c_byte * 100)()
    structure = callbacks.structure

    assert structure.getxattr(b"/etc/a", b"user.note", None, 0) == 5
    assert structure.getxattr(b"/etc/a", b"user.note", buffer, 4) == -errno.ERANGE
    assert structure.getxattr(b"/etc/a", b"user.note", buffer, 100) == 5
    assert bytes(buffer[:5]) == b"noted"
    assert structure.getxattr(b"/etc/a", b"user.none", buffer, 100) == -errno.ENODATA
    assert structure.listxattr(b"/etc/a", buffer, 100) == 10
    assert bytes(buffer[:10]) == b"user.note\0"


def test_an_image_without_attributes_answers_that_there_are_none(made):
    callbacks, _ = made(file("a"))

    assert not callbacks.structure.getxattr
    assert callbacks.structure.listxattr(b"/a", None, 0) == 0


def listed(
    callbacks, *, offset: int = 0, room: int = 100, flags: int = 1
) -> list[tuple[bytes, int, int, int]]:
    """List the root directory, into a buffer with room for some names."""
    names: list[tuple[bytes, int, int, int]] = []

    @FUSE.fuse_fill_dir_t
    def fill(_buffer, name, found, number, how):
        if len(names) == room:
            return 1
        names.append((name, found.contents.st_ino, number, how))
        return 0

    assert callbacks.structure.readdir(b"/", None, fill, offset, None, flags) == 0
    return names


def test_a_listing_brings_attributes_and_goes_on_where_the_buffer_was_full(callbacks):
    whole = [(b".", 1, 1, 2), (b"..", 1, 2, 2), (b"etc", 2, 3, 2), (b"link", 4, 4, 2)]

    assert listed(callbacks) == whole
    assert listed(callbacks, room=2) == whole[:2]
    assert listed(callbacks, offset=2) == whole[2:]
    assert [how for *_, how in listed(callbacks, flags=0)] == [0, 0, 0, 0]


def test_files_are_opened_by_the_kernel_alone_and_listings_are_kept(callbacks):
    info = FUSE.fuse_file_info()

    assert callbacks.structure.open(b"/etc/a", ctypes.byref(info)) == -errno.ENOSYS
    assert callbacks.structure.opendir(b"/etc", ctypes.byref(info)) == 0
    assert (info.cache_readdir, info.keep_cache) == (1, 1)


def test_the_file_system_is_full_and_has_the_size_of_the_image(callbacks):
    found = FUSE.c_statvfs()

    assert callbacks.structure.statfs(b"/", ctypes.byref(found)) == 0
    assert (found.f_blocks * found.f_frsize, found.f_bfree, found.f_files) == (8192, 0, 4)


def test_the_kernel_may_keep_all_it_is_told(made):
    callbacks, ready = made(file("a"))
    connection, config = FUSE.fuse_conn_info(), FUSE.fuse_config()

    callbacks.structure.init(ctypes.byref(connection), ctypes.byref(config))

    assert (config.use_ino, config.kernel_cache) == (1, 1)
    assert min(config.entry_timeout, config.attr_timeout, config.negative_timeout) > 86_400
    assert callbacks.is_ready
    assert ready == [True]


def test_a_fault_of_our_own_is_an_input_error_and_logged(callbacks, monkeypatch, caplog):
    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(ImageOperations, "read", fail)
    buffer = (ctypes.c_byte * 10)()
    with caplog.at_level(logging.ERROR, logger="soci.mount"):
        assert callbacks.structure.read(b"/etc/a", buffer, 10, 0, None) == -errno.EIO

    assert [record.getMessage() for record in caplog.records] == ["_read failed"]
