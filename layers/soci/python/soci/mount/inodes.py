"""The inodes of a mounted image: what `stat`, `readdir`, `readlink` and `getxattr` say of its merged files.

An inode's number is its place in the sorted walk of the image, so two mounts of one image have equal numbers. Names
that are hard links of each other share an inode, also across layers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from soci.image.filesystem import FileSystem, Node
from soci.ztoc.entries import XATTR_PREFIX
from soci.ztoc.model import FileEntry

ROOT_NUMBER = 1

BLOCK_BYTES = 4096
"""What a file is rounded up to in `du`, as on most disks."""

MAX_NAME_BYTES = 255
"""Linux has no longer file names, so an entry with one cannot be extracted either."""

_TYPE_BITS = {
    "reg": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}
_IMPLIED_MODE = 0o755
"""Of a directory that no entry describes."""

_UINT32_MASK = 0xFFFF_FFFF
_MAX_MAJOR, _MAX_MINOR = 1 << 12, 1 << 20
"""Linux has no device with larger numbers."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, kw_only=True, eq=False)
class Inode:
    """A file, directory, link or device of the mount."""

    number: int
    type: str
    entry: FileEntry | None
    """What describes it; of a hard link its target. None for a directory that only its content implies."""
    layer: int
    """Number of the layer that has its content."""
    path: bytes
    """Its first name."""
    links: int = 1
    parent: Inode | None = None
    """Of a directory; None for the root."""
    children: dict[bytes, Inode] | None = None
    """Of a directory, by name, sorted."""

    @property
    def type_bits(self) -> int:
        """The type as in st_mode."""
        return _TYPE_BITS[self.type]

    @property
    def size_bytes(self) -> int:
        """The size as `stat` shows it."""
        if self.entry is None or self.type == "dir":
            return BLOCK_BYTES
        if self.type == "symlink":
            return len(self.entry.link_name)
        return max(0, self.entry.uncompressed_size) if self.type == "reg" else 0

    @property
    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes, in the order of their names."""
        start = len(XATTR_PREFIX)
        pairs = self.entry.xattrs if self.entry else ()
        return {key[start:]: value for key, value in pairs if key.startswith(XATTR_PREFIX) and key[start:]}


class InodeTable:
    """All inodes of an image."""

    def __init__(self, files: FileSystem) -> None:
        root = files.lookup(b"/")
        self.root = Inode(
            number=ROOT_NUMBER,
            type="dir",
            entry=root.entry,
            layer=root.layer,
            path=b"/",
            links=2,
            children={},
        )
        self.inodes = [self.root]
        """In the order of their numbers, which begin with 1."""
        self.size_bytes = 0
        """What `du` finds, without directories."""
        self.has_xattrs = _has_xattrs(self.root)
        """Whether any inode has extended attributes."""
        self.left_out: list[tuple[bytes, str]] = []
        """Paths that a mount cannot show, and why."""
        self._fill(files)

    def _fill(self, files: FileSystem) -> None:
        directories = {b"/": self.root}
        shared: dict[tuple[int, int], Inode] = {}
        for node in files.walk():
            parent_path, _, name = node.path.rpartition(b"/")
            parent = directories.get(parent_path or b"/")
            if parent is None or parent.children is None:
                continue  # in a directory that was left out
            if reason := _why_left_out(node, name):
                self.left_out.append((node.path, reason))
                continue
            key = node.data_layer, id(node.data)
            inode = shared.get(key) if node.data is not None and node.type != "dir" else None
            if inode is not None:
                inode.links += 1
            else:
                inode = self._add(node, parent)
                if node.type == "dir":
                    directories[node.path] = inode
                    parent.links += 1
                else:
                    shared[key] = inode
            parent.children[name] = inode

    def _add(self, node: Node, parent: Inode) -> Inode:
        is_directory = node.type == "dir"
        inode = Inode(
            number=len(self.inodes) + 1,
            type=node.type,
            entry=node.data,
            layer=node.data_layer,
            path=node.path,
            links=2 if is_directory else 1,
            parent=parent if is_directory else None,
            children={} if is_directory else None,
        )
        self.inodes.append(inode)
        self.has_xattrs = self.has_xattrs or _has_xattrs(inode)
        if not is_directory:
            self.size_bytes += _blocks(inode.size_bytes) * BLOCK_BYTES
        return inode

    def find(self, path: bytes) -> Inode | None:
        """Return the inode at a path from the root. The kernel has followed all links already."""
        inode = self.root
        for name in path.split(b"/"):
            if not name:
                continue
            if inode.children is None:
                return None
            child = inode.children.get(name)
            if child is None:
                return None
            inode = child
        return inode


def _has_xattrs(inode: Inode) -> bool:
    return inode.entry is not None and bool(inode.entry.xattrs) and bool(inode.xattrs)


def attributes_of(inode: Inode) -> Mapping[str, int]:
    """Return what `stat` shows. Times are nanoseconds since 1970."""
    entry = inode.entry
    size_bytes = inode.size_bytes
    found = {
        "st_ino": inode.number,
        "st_mode": inode.type_bits | ((entry.mode & 0o7777) if entry else _IMPLIED_MODE),
        "st_nlink": inode.links,
        "st_size": size_bytes,
        "st_blocks": _blocks(size_bytes) * (BLOCK_BYTES // 512),
        "st_blksize": BLOCK_BYTES,
    }
    if entry is None:
        return found
    time = time_ns_of(entry.mod_time)
    found |= {
        "st_uid": entry.uid & _UINT32_MASK,
        "st_gid": entry.gid & _UINT32_MASK,
        "st_atime": time,
        "st_mtime": time,
        "st_ctime": time,
    }
    if inode.type in ("char", "block"):
        found["st_rdev"] = _device_number(entry)
    return found


def time_ns_of(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds since 1970; 0 where it is no such time."""
    whole, _, fraction = text.partition(".")
    digits = len(fraction) - len(fraction.lstrip("0123456789"))
    zone = fraction[digits:] if fraction else whole[19:]
    shift_years = 400 if whole.startswith("0000-") else 0  # Python's calendar begins with the year 1
    try:
        moment = datetime.fromisoformat(f"{int(whole[:4]) + shift_years:04d}{whole[4:19]}{zone or 'Z'}")
    except ValueError:
        return 0
    past = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    seconds = past.days * 86_400 + past.seconds - (146_097 * 86_400 if shift_years else 0)
    return seconds * 1_000_000_000 + int(fraction[: min(digits, 9)].ljust(9, "0"))


def _device_number(entry: FileEntry) -> int:
    major, minor = entry.device_major, entry.device_minor
    return os.makedev(major, minor) if 0 <= major < _MAX_MAJOR and 0 <= minor < _MAX_MINOR else 0


def _blocks(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES)


def _why_left_out(node: Node, name: bytes) -> str | None:
    if node.type not in _TYPE_BITS:
        return "a hard link to a file that the image does not have"
    if len(name) > MAX_NAME_BYTES:
        return f"its name has {len(name)} bytes, Linux allows {MAX_NAME_BYTES}"
    if b"\0" in name:
        return "its name has a zero byte"
    return None
