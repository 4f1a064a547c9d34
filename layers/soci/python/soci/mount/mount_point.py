"""The checks before a mount: the directory must be free, and the machine must allow it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from soci.errors import InvalidOption, MountRefused

DEVICE = Path("/dev/fuse")
_STATUS = Path("/proc/self/status")
_FUSE_CONF = Path("/etc/fuse.conf")
_CAP_SYS_ADMIN = 1 << 21


def check_directory(directory: Path) -> None:
    """Check that a directory is there, empty and no mount. Raises `InvalidOption`."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - only whether there are any
    except FileNotFoundError:
        raise InvalidOption(f"{directory} does not exist: make the directory first") from None
    except NotADirectoryError:
        raise InvalidOption(f"{directory} is no directory") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise InvalidOption(
                f"{directory} is a mount whose process was killed: end it with `fusermount3 -u {directory}`"
            ) from None
        raise InvalidOption(f"{directory} cannot be read: {os.strerror(error.errno or 0)}") from None
    if directory.is_mount():
        raise InvalidOption(
            f"{directory} is a mount already: end it with `umount {directory}`, or choose another"
        )
    if names:
        raise InvalidOption(f"{directory} is not empty: choose an empty directory")


def check_rights(directory: Path) -> None:
    """Check that this process may mount at a directory. Raises `MountRefused`."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise MountRefused(
            f"there is no {DEVICE}: load the kernel's module with `modprobe fuse`; in a container, start it with"
            f" `--device {DEVICE} --cap-add SYS_ADMIN`"
        ) from None
    except OSError as error:
        raise MountRefused(
            f"{DEVICE} cannot be opened: {os.strerror(error.errno or 0)}; in a container, start it with"
            f" `--device {DEVICE} --cap-add SYS_ADMIN`"
        ) from None
    if may_mount():
        return
    if is_root():
        raise MountRefused(
            "this process may not mount (no CAP_SYS_ADMIN): in a container, start it with `--cap-add SYS_ADMIN`"
        )
    if shutil.which("fusermount3") is None:
        raise MountRefused("who is not root needs fusermount3: install the package fuse3 of your system")
    if not os.access(directory, os.W_OK):
        raise MountRefused(f"{directory}: who is not root can mount only at a directory that is their own")


def may_mount() -> bool:
    """Tell whether this process may mount by itself, without fusermount3."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) & _CAP_SYS_ADMIN)
    return is_root()


def is_root() -> bool:
    """Tell whether this process is root, perhaps without all of its rights."""
    return os.geteuid() == 0


def others_may_look() -> bool:
    """Tell whether a mount of this process can be opened to other users."""
    if may_mount():
        return True
    try:
        lines = _FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
