from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from soci.errors import InvalidOption, MountRefused
from soci.mount import mount_point
from soci.mount.mount_point import check_directory, check_rights, may_mount, others_may_look


def test_an_empty_directory_is_free(tmp_path):
    check_directory(tmp_path)


def test_a_directory_that_cannot_be_looked_at_is_named(tmp_path, monkeypatch):
    def fail(_: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(InvalidOption, match=f"{tmp_path} cannot be read: Permission denied"):
        check_directory(tmp_path)


def test_a_machine_without_the_device_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path / "fuse")

    with pytest.raises(
        MountRefused, match=r"there is no .*/fuse: load the kernel's module .*--cap-add SYS_ADMIN"
    ):
        check_rights(tmp_path)


def test_a_device_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mount_point, "DEVICE", tmp_path)

    with pytest.raises(MountRefused, match="cannot be opened: Is a directory; in a container"):
        check_rights(tmp_path)


@pytest.fixture
def without_rights(tmp_path, monkeypatch):
    """A process that may open the device and may not mount by itself."""
    device, status = tmp_path / "device", tmp_path / "status"
    device.touch()
    status.write_text("Name:\tx\nCapEff:\t000001ffffdfffff\n")
    monkeypatch.setattr(mount_point, "DEVICE", device)
    monkeypatch.setattr(mount_point, "_STATUS", status)
    assert not may_mount()


@pytest.mark.usefixtures("without_rights")
def test_root_without_the_right_is_told_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(MountRefused, match=r"this process may not mount \(no CAP_SYS_ADMIN\)"):
        check_rights(tmp_path)


@pytest.mark.usefixtures("without_rights")
def test_who_is_not_root_needs_fusermount3_and_a_directory_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MountRefused, match="needs fusermount3: install the package fuse3"):
        check_rights(tmp_path)

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/fusermount3")
    check_rights(tmp_path)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(MountRefused, match="can mount only at a directory that is their own"):
        check_rights(tmp_path)


@pytest.mark.usefixtures("without_rights")
@pytest.mark.parametrize(
    ("text", "expected"), [("user_allow_other\n", True), ("#user_allow_other\n", False), (None, False)]
)
def test_others_may_look_if_the_machine_says_so(text, expected, tmp_path, monkeypatch):
    configuration = tmp_path / "fuse.conf"
    if text is not None:
        configuration.write_text(text)
    monkeypatch.setattr(mount_point, "_FUSE_CONF", configuration)

    assert others_may_look() is expected
