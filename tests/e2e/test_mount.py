"""`soci-index mount` with a real kernel: what programs see, and how a mount begins and ends."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soci.oci.digest import digest_of
from soci.start.profile import parse_profile
from tests.builders import (
    device,
    directory,
    fifo,
    file,
    gzip_of,
    hardlink,
    image_of,
    layout_of,
    opaque,
    symlink,
    tar_of,
    text,
    whiteout,
    with_soci_index,
)
from tests.mounts import MOUNT, is_dead, mounted, needs_fuse, unmount

pytestmark = needs_fuse

BIG = text(300_000)
LOWER = tar_of(
    directory("etc", mode=0o755),
    file("etc/gone", b"gone"),
    file("etc/kept", b"kept", mode=0o640, uid=12, gid=34, pax_headers={"mtime": "1700000000.123456789"}),
    file("usr/big", BIG, mode=0o4755),
    directory("old"),
    file("old/hidden", b"hidden"),
    file("lower", b"lower"),
    fifo("pipe"),
    device("null", 1, 3),
)
UPPER = tar_of(
    whiteout("etc/gone"),
    opaque("old"),
    file("old/new", b"new"),
    symlink("link", "etc/kept"),
    file(b"caf\xe9".decode("utf-8", "surrogateescape"), b"latin"),
    file("attributes", b"x", pax_headers={"SCHILY.xattr.user.note": "noted", "SCHILY.xattr.user.empty": ""}),
)
TOP = tar_of(hardlink("again", "lower"))
"""A link to another layer: no layer with one has a zTOC."""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    layers = (gzip_of(LOWER), gzip_of(UPPER), gzip_of(TOP))
    return f"oci:{layout_of(tmp_path_factory.mktemp('image'), with_soci_index(image_of(*layers), skip=[2]))}:latest"


@pytest.fixture(scope="module")
def root(image, tmp_path_factory):
    with mounted(image, tmp_path_factory.mktemp("mount") / "root") as one:
        yield one.directory


def test_layers_are_merged(root):
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))

    folders = ["etc", "old", "usr"]
    links_and_devices = ["again", "link", "null", "pipe"]
    files = ["attributes", "caf\udce9", "etc/kept", "lower", "old/new", "usr/big"]
    assert found == sorted(folders + links_and_devices + files)


def test_content_is_that_of_the_layers(root):
    assert (root / "usr/big").read_bytes() == BIG
    assert (root / "old/new").read_bytes() == b"new"
    assert (root / "link").read_bytes() == b"kept"


def test_attributes_are_those_of_the_layers(root):
    kept = (root / "etc/kept").stat()

    assert stat.S_IMODE(kept.st_mode) == 0o640
    assert (kept.st_uid, kept.st_gid, kept.st_size) == (12, 34, 4)
    assert kept.st_mtime_ns == 1_700_000_000_123_456_789
    assert stat.S_IMODE((root / "usr/big").stat().st_mode) == 0o4755
    assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)
    null = (root / "null").lstat()
    assert stat.S_ISCHR(null.st_mode)
    assert null.st_rdev == os.makedev(1, 3)


def test_hard_links_share_an_inode_across_layers(root):
    one, other = (root / "lower").stat(), (root / "again").stat()

    assert one.st_ino == other.st_ino
    assert one.st_nlink == 2


def test_extended_attributes_are_those_of_the_layers(root):
    path = root / "attributes"

    assert sorted(os.listxattr(path)) == ["user.empty", "user.note"]
    assert os.getxattr(path, "user.note") == b"noted"
    assert os.getxattr(path, "user.empty") == b""
    assert os.listxattr(root / "usr/big") == []


def test_nothing_can_be_written(root):
    with pytest.raises(OSError, match="Read-only file system"):
        (root / "new").write_bytes(b"x")
    with pytest.raises(OSError, match="Read-only file system"):
        (root / "etc/kept").unlink()


def test_inode_numbers_are_the_same_in_each_mount(image, root, tmp_path):
    with mounted(image, tmp_path / "again") as other:
        numbers = {path.relative_to(root): path.lstat().st_ino for path in root.rglob("*")}

        assert numbers == {
            path.relative_to(other.directory): path.lstat().st_ino for path in other.directory.rglob("*")
        }


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGINT], ids=["umount", "SIGTERM", "SIGINT"])
def test_a_mount_ends_cleanly(how, image, tmp_path):
    with mounted(image, tmp_path / "root") as one:
        assert one.ready == f"mounted {image} at {one.directory}\n"
        assert (one.directory / "lower").read_bytes() == b"lower"

        assert one.end(how) == 0

        assert one.errors == ""
        assert "1 request" in one.output
        assert list(one.directory.iterdir()) == []


def test_what_is_read_is_recorded(image, tmp_path):
    with mounted(image, tmp_path / "root", "--record", tmp_path / "profile.json") as one:
        (one.directory / "again").read_bytes()
        (one.directory / "usr/big").read_bytes()
        (one.directory / "again").read_bytes()
        one.end()

    profile = parse_profile((tmp_path / "profile.json").read_bytes())
    assert [read.path for read in profile.files] == [b"/again", b"/usr/big"]
    assert [read.is_whole for read in profile.files] == [True, True]
    assert profile.program == b"/usr/big"
    assert str(tmp_path).encode() not in (tmp_path / "profile.json").read_bytes()


def test_in_the_background_it_returns_when_the_image_is_mounted(image, tmp_path):
    directory = tmp_path / "root"
    directory.mkdir()
    done = subprocess.run(
        [*MOUNT, image, directory, "--background"], check=True, capture_output=True, text=True
    )
    try:
        assert done.stdout == f"mounted {image} at {directory}\n"
        assert (directory / "lower").read_bytes() == b"lower"
    finally:
        subprocess.run(["fusermount3", "-u", directory], check=True)


def test_relative_paths_are_those_of_the_caller(image, tmp_path):
    layout = image.removeprefix("oci:").removesuffix(":latest")
    (tmp_path / "layout").symlink_to(layout)
    (tmp_path / "root").mkdir()
    command = [
        *MOUNT,
        "oci:layout:latest",
        "root",
        "--cache",
        "cache",
        "--record",
        "profile.json",
        "--background",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    try:
        assert (tmp_path / "root/usr/big").read_bytes() == BIG
    finally:
        subprocess.run(["fusermount3", "-u", tmp_path / "root"], check=True)

    deadline = time.monotonic() + 30
    while not (tmp_path / "profile.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    profile = parse_profile((tmp_path / "profile.json").read_bytes())
    assert [read.path for read in profile.files] == [b"/usr/big"]
    assert (tmp_path / "cache").is_dir()


@pytest.fixture
def damaged(tmp_path):
    """An image and the path of its layer, to damage it."""
    layout = layout_of(tmp_path / "image", with_soci_index(image_of(gzip_of(LOWER))))
    return f"oci:{layout}:latest", layout / "blobs/sha256" / digest_of(gzip_of(LOWER)).hex


def test_a_read_that_fails_gives_an_input_error_and_one_line_and_a_later_one_tries_again(damaged, tmp_path):
    image, blob = damaged
    with mounted(image, tmp_path / "root") as one:
        blob.write_bytes(bytes(blob.stat().st_size))
        with pytest.raises(OSError, match=r"Input/output error"):
            (one.directory / "usr/big").read_bytes()
        blob.write_bytes(gzip_of(LOWER))
        assert (one.directory / "usr/big").read_bytes() == BIG
        one.end()

    [line] = one.errors.splitlines()
    assert line.startswith("soci-index: /usr/big: bytes 0 to ")
    assert re.search(
        rf"layer sha256:{blob.name}: span \d+ \(bytes \d+ to \d+\) cannot be read: .*, want sha256:", line
    )


def test_a_log_file_takes_the_lines(damaged, tmp_path):
    image, blob = damaged
    with mounted(image, tmp_path / "root", "--log", tmp_path / "log") as one:
        blob.unlink()
        with pytest.raises(OSError, match=r"Input/output error"):
            (one.directory / "lower").read_bytes()
        one.end()

    assert one.errors == ""
    assert " /lower: bytes 0 to " in (tmp_path / "log").read_text()


def paths_in(profile: Path) -> list[bytes]:
    """The paths of a profile, which may be written only after a while."""
    ends = time.monotonic() + 10
    while not profile.exists() and time.monotonic() < ends:
        time.sleep(0.05)
    return [read.path for read in parse_profile(profile.read_bytes()).files]


def test_a_signal_writes_the_profile_while_the_mount_goes_on(image, tmp_path):
    path = tmp_path / "profile.json"
    with mounted(image, tmp_path / "root", "--record", path) as one:
        (one.directory / "lower").read_bytes()
        one.process.send_signal(signal.SIGUSR1)
        assert paths_in(path) == [b"/lower"]
        (one.directory / "old/new").read_bytes()
        one.end()

    assert paths_in(path) == [b"/lower", b"/old/new"]


def test_recording_ends_after_its_time(image, tmp_path):
    path = tmp_path / "profile.json"
    with mounted(image, tmp_path / "root", "--record", path, "--record-for", "0.2") as one:
        (one.directory / "lower").read_bytes()
        assert paths_in(path) == [b"/lower"]
        (one.directory / "old/new").read_bytes()
        one.end()

    assert paths_in(path) == [b"/lower"]


def refused(*arguments: object, status: int) -> str:
    done = subprocess.run([*MOUNT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done
    assert done.stdout == ""
    return done.stderr


def test_a_wrong_directory_gives_one_line_that_says_what_to_do(image, root, tmp_path):
    (tmp_path / "file").write_bytes(b"")

    assert refused(image, tmp_path / "none", status=2) == (
        f"soci-index: {tmp_path}/none does not exist: make the directory first\n"
    )
    assert refused(image, tmp_path / "file", status=2) == f"soci-index: {tmp_path}/file is no directory\n"
    assert refused(image, tmp_path, status=2) == (
        f"soci-index: {tmp_path} is not empty: choose an empty directory\n"
    )
    assert refused(image, root, status=2) == (
        f"soci-index: {root} is a mount already: end it with `umount {root}`, or choose another\n"
    )


def test_a_mount_whose_process_was_killed_is_named(image, tmp_path):
    with mounted(image, tmp_path / "root") as one:
        one.end(signal.SIGKILL)

        assert is_dead(one.directory)
        assert refused(image, one.directory, status=2) == (
            f"soci-index: {one.directory} is a mount whose process was killed: end it with "
            f"`fusermount3 -u {one.directory}`\n"
        )


def test_in_the_background_a_failure_is_that_of_the_command(image, tmp_path):
    (tmp_path / "root").mkdir()

    error = refused(f"{image.rpartition(':')[0]}:none", tmp_path / "root", "--background", status=1)
    assert error.count("\n") == 1
    assert "none" in error


def test_a_mount_that_the_kernel_refuses_is_one_line(image, tmp_path):
    """A directory that goes away after the checks."""
    directory = tmp_path / "root"
    directory.mkdir()
    program = f"""
from pathlib import Path
import soci.cli.mount as module
from soci.cli.app import run

def open_image(*arguments, real=module.open_image):
    Path({str(directory)!r}).rmdir()
    return real(*arguments)

module.open_image = open_image
run(["mount", {image!r}, {str(directory)!r}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"soci-index: {directory}: the mount failed: ")
    assert done.stderr.count("\n") == 1


def test_in_the_background_it_returns_also_if_nobody_reads_its_line(image, tmp_path):
    directory = tmp_path / "root"
    directory.mkdir()
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        command = [*MOUNT, image, str(directory), "--background"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False)
    try:
        assert done.returncode == 0, done.stderr
        assert (directory / "lower").read_bytes() == b"lower"
    finally:
        unmount(directory)
