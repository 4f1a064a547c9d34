"""An independent oracle for the merged files of an image: tarfile, and a tree of paths that layers are applied to.

`shown_in` looks at a real directory in the same terms.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

Tree = dict[str, "Shown"]

_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
_XATTR = "SCHILY.xattr."


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a program sees of a file."""

    mode: int
    """With the type."""
    uid: int = 0
    gid: int = 0
    time_ns: int = 0
    links: int = 1
    size: int | None = None
    """None for a directory, whose size is up to the file system."""
    device: int = 0
    target: str = ""
    content: str = ""
    """The digest."""
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    same: str = ""
    """The first of its names."""


@dataclass(eq=False)
class _Node:
    member: tarfile.TarInfo | None
    content: bytes = b""


def merged(layers: Iterable[bytes]) -> Tree:
    """Apply layers, bottom first: gzip or plain tars."""
    tree: dict[str, _Node] = {"": _Node(None)}
    for layer in layers:
        data = gzip.decompress(layer) if layer.startswith(b"\x1f\x8b") else layer
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [(_clean(member.name), member) for member in archive]
            lower = dict(tree)
            for path, _ in members:
                _hide(tree, path)
            for path, member in members:
                _apply(tree, lower, path, member, archive)
    counts = Counter(tree.values())
    names: dict[_Node, str] = {}
    for path in sorted(tree, key=lambda path: path.split("/")):
        names.setdefault(tree[path], path)
    return {path: _shown(tree, path, counts[node], names[node]) for path, node in tree.items()}


def _clean(name: str) -> str:
    return os.path.normpath("/" + name).lstrip("/")


def _hide(tree: dict[str, _Node], path: str) -> None:
    folder, _, name = path.rpartition("/")
    if name == ".wh..wh..opq":
        for other in [other for other in tree if not folder or other.startswith(f"{folder}/")]:
            if other:
                del tree[other]
    elif name.startswith(".wh."):
        _remove(tree, f"{folder}/{name[4:]}".lstrip("/"))


def _remove(tree: dict[str, _Node], path: str) -> None:
    for other in [other for other in tree if other == path or other.startswith(f"{path}/")]:
        del tree[other]


def _apply(
    tree: dict[str, _Node],
    lower: dict[str, _Node],
    path: str,
    member: tarfile.TarInfo,
    archive: tarfile.TarFile,
) -> None:
    folders = path.split("/")[:-1]
    for count in range(1, len(folders) + 1):
        tree.setdefault("/".join(folders[:count]), _Node(None))
    if path.rpartition("/")[2].startswith(".wh."):
        return
    if member.isdir():
        before = tree.get(path)
        if before is not None and not _is_directory(before):
            _remove(tree, path)
        tree[path] = _Node(member)
        return
    node = _Node(member)
    if member.islnk():
        target = _clean(member.linkname)
        node = tree.get(target) or lower[target]
    if member.isreg():
        file = archive.extractfile(member)
        node.content = file.read() if file else b""
    if path in tree:
        _remove(tree, path)
    tree[path] = node


def _is_directory(node: _Node) -> bool:
    return node.member is None or node.member.isdir()


def _shown(tree: dict[str, _Node], path: str, names: int, first: str) -> Shown:
    node = tree[path]
    member = node.member
    if _is_directory(node):
        prefix = f"{path}/" if path else ""
        folders = sum(
            1
            for other, child in tree.items()
            if other and other.startswith(prefix) and "/" not in other[len(prefix) :] and _is_directory(child)
        )
        names = 2 + folders
    if member is None:
        return Shown(mode=stat.S_IFDIR | 0o755, links=names, same=path)
    kind = _KINDS.get(member.type, stat.S_IFREG)
    is_device = stat.S_ISCHR(kind) or stat.S_ISBLK(kind)
    seconds = Decimal(member.pax_headers.get("mtime") or member.mtime)
    return Shown(
        mode=kind | stat.S_IMODE(member.mode),
        uid=member.uid,
        gid=member.gid,
        time_ns=int(seconds * 1_000_000_000),
        links=names,
        size=None
        if stat.S_ISDIR(kind)
        else len(os.fsencode(member.linkname))
        if stat.S_ISLNK(kind)
        else len(node.content),
        device=os.makedev(member.devmajor, member.devminor) if is_device else 0,
        target=member.linkname if stat.S_ISLNK(kind) else "",
        content=hashlib.sha256(node.content).hexdigest() if stat.S_ISREG(kind) else "",
        xattrs={
            key.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape")
            for key, value in member.pax_headers.items()
            if key.startswith(_XATTR) and not _is_refused(key.removeprefix(_XATTR), value)
        },
        same=path if stat.S_ISDIR(kind) else first,
    )


def shown_in(root: Path) -> Tree:
    """Look at all files of a directory, and at the directory itself."""
    paths = [
        Path(),
        *sorted(
            (Path(folder) / name).relative_to(root)
            for folder, folders, files in os.walk(root)
            for name in folders + files
        ),
    ]
    first: dict[int, str] = {}
    tree = {}
    for path in sorted(paths, key=lambda path: str(path).split("/")):
        found = os.lstat(root / path)
        name = "" if path == Path() else str(path)
        kind = stat.S_IFMT(found.st_mode)
        tree[name] = Shown(
            mode=found.st_mode,
            uid=found.st_uid,
            gid=found.st_gid,
            time_ns=found.st_mtime_ns,
            links=found.st_nlink,
            size=None if stat.S_ISDIR(kind) else found.st_size,
            device=found.st_rdev if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else 0,
            target=os.readlink(root / path) if stat.S_ISLNK(kind) else "",  # noqa: PTH115 - as it is
            content=_digest(root / path) if stat.S_ISREG(kind) else "",
            xattrs=_xattrs(root / path),
            same=name if stat.S_ISDIR(kind) else first.setdefault(found.st_ino, name),
        )
    return tree


def _is_refused(name: str, value: str) -> bool:
    """Whether Linux takes the value for damage: file capabilities have a fixed form."""
    return name == "security.capability" and len(value) not in (12, 20, 24)


def _xattrs(path: Path) -> dict[str, bytes]:
    found = {}
    for name in os.listxattr(path, follow_symlinks=False):
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            if (name, error.errno) != ("security.capability", errno.EINVAL):
                raise
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
