"""The files of an image: its layers laid over each other, as a container sees them.

Each layer is a tree that is laid over the layers below (OCI image spec, layer.md): `.wh.NAME` deletes NAME from
lower layers, and `.wh..wh..opq` deletes all that lower layers have in its directory. Neither affects its own layer.
If several entries have one path, the last one counts. A directory over a directory adds to it; anything else replaces
what was there. Links are resolved inside the image: `..` cannot leave its root.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soci.errors import InvalidZtoc, NotInImage
from soci.ztoc.entries import OPAQUE_MARKER
from soci.ztoc.model import FileEntry
from soci.ztoc.paths import clean_path

MAX_PATH_BYTES = 4096
"""Linux cannot open a longer path (PATH_MAX), so such an entry is not shown."""

MAX_LINK_HOPS = 40
"""Linux gives up after as many symbolic links (path_resolution(7))."""

MAX_IMPLIED_DIRECTORIES = 500_000
"""Builders list directories. Without this limit, a few kilobytes of deep paths could fill the memory."""

_WHITEOUT = b".wh."
_MARKER = b".wh..wh."


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A file, directory or link of the image. A directory that only its content implies has no entry."""

    path: bytes
    """Absolute and without links, except for the last component: /etc/ssl."""
    layer: int
    """Number of the layer that the entry comes from."""
    entry: FileEntry | None
    data_layer: int
    data: FileEntry | None
    """The entry with the content: of a hard link its target, else the entry itself; None for a hard link without a
    target."""

    @property
    def type(self) -> str:
        """The type as in the zTOC. A hard link has that of its target."""
        found = self.data or self.entry
        return found.type if found else "dir"

    def __str__(self) -> str:
        return shown(self.path)


class FileSystem:
    """The merged view of an image. Paths are bytes and begin at the root, with or without a slash."""

    def __init__(self, root: _Inode) -> None:
        self._root = root

    @classmethod
    def of(cls, layers: Sequence[Sequence[FileEntry]]) -> FileSystem:
        """Lay the entries of layers over each other, from the bottom layer to the top one."""
        merged = _Inode(layer=0, children={})
        for number, entries in enumerate(layers):
            tree = _LayerTree(number, merged)
            for entry in entries:
                tree.add(entry)
            _lay_over(merged, tree.root)
            merged = tree.root
        return cls(merged)

    def lookup(self, path: bytes, *, follow: bool = True) -> Node:
        """Find the node at a path. Links on the way are followed, and a link at the end if `follow` is set.

        Raises:
            NotInImage: there is no such path, or its links lead in a circle.
        """
        return _node(*self._resolve(path, follow=follow))

    def list(self, path: bytes) -> tuple[Node, ...]:
        """List a directory's nodes, sorted. Anything else is listed as itself. Raises NotInImage."""
        path, inode = self._resolve(path, follow=True)
        if inode.children is None:
            return (_node(path, inode),)
        return tuple(_node(_join(path, name), child) for name, child in sorted(inode.children.items()))

    def walk(self) -> Iterator[Node]:
        """Yield every node but the root, sorted, each directory before its content."""
        todo = [(b"/", self._root)]
        while todo:
            path, inode = todo.pop()
            if inode is not self._root:
                yield _node(path, inode)
            children = sorted((inode.children or {}).items(), reverse=True)
            todo.extend((_join(path, name), child) for name, child in children)

    def glob(self, pattern: bytes) -> tuple[Node, ...]:
        """Find the nodes that match, sorted: `*`, `?` and `[...]` within a name, `**` across directories.

        Links to directories are followed where the pattern continues after them, but not by `**`. A link that ends
        the path is not followed.
        """
        parts = [part for part in clean_path(pattern).split(b"/") if part]
        found: dict[bytes, _Inode] = {}
        seen: set[tuple[bytes, int]] = set()
        todo = [(b"/", self._root, 0)]
        while todo:
            path, inode, at = todo.pop()
            if (path, at) in seen:
                continue
            seen.add((path, at))
            if at == len(parts):
                found[path] = inode
            else:
                todo.extend(self._match(path, inode, parts, at))
        paths = sorted(found, key=lambda path: path.split(b"/"))
        return tuple(_node(path, found[path]) for path in paths)

    def _match(
        self, path: bytes, inode: _Inode, parts: Sequence[bytes], at: int
    ) -> Iterator[tuple[bytes, _Inode, int]]:
        """Yield the nodes where a pattern continues, each with the number of parts matched so far."""
        if inode.is_symlink:
            try:
                path, inode = self._resolve(path, follow=True)
            except NotInImage:
                return
        children = inode.children or {}
        if parts[at] == b"**":
            yield path, inode, at + 1
            for name, child in children.items():
                if child.children is not None:
                    yield _join(path, name), child, at
                elif at + 1 == len(parts):
                    yield _join(path, name), child, at + 1
            return
        for name in fnmatch.filter(children, parts[at]):
            yield _join(path, name), children[name], at + 1

    def _resolve(self, path: bytes, *, follow: bool) -> tuple[bytes, _Inode]:
        rest = path.split(b"/")[::-1]
        trail: list[tuple[bytes, _Inode]] = [(b"/", self._root)]
        hops = 0
        while rest:
            name = rest.pop()
            here, inode = trail[-1]
            if name in (b"", b"."):
                continue
            if inode.children is None:
                raise NotInImage(f"{shown(here)} is no directory, so there is no {shown(path)} in the image")
            if name == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            child = inode.children.get(name)
            if child is None:
                raise NotInImage(f"{shown(path)}: the image has no {shown(_join(here, name))}")
            if not child.is_symlink or not (rest or follow):
                trail.append((_join(here, name), child))
                continue
            hops += 1
            if hops > MAX_LINK_HOPS:
                raise NotInImage(f"{shown(path)}: more than {MAX_LINK_HOPS} symbolic links on the way")
            target = child.link_name
            if target.startswith(b"/"):
                del trail[1:]
            rest.extend(target.split(b"/")[::-1])
        return trail[-1]


def shown(path: bytes) -> str:
    """Return a path for a message or a table. Bytes that are no UTF-8 appear as escapes."""
    return path.decode("utf-8", "backslashreplace")


@dataclass(slots=True, kw_only=True)
class _Inode:
    """A node while layers are merged. A directory also holds what it hides of lower layers."""

    layer: int
    entry: FileEntry | None = None
    data_layer: int = 0
    data: FileEntry | None = None
    children: dict[bytes, _Inode] | None = None
    is_opaque: bool = False
    whiteouts: set[bytes] | None = None

    @property
    def is_symlink(self) -> bool:
        return self.data is not None and self.data.type == "symlink"

    @property
    def link_name(self) -> bytes:
        return self.data.link_name if self.data else b""


class _LayerTree:
    """The tree of one layer. Hard links may lead to `lower`, the merged layers below."""

    def __init__(self, layer: int, lower: _Inode) -> None:
        self._top: dict[bytes, _Inode] = {}
        self.root = _Inode(layer=layer, children=self._top)
        self._layer = layer
        self._lower = lower
        self._implied = 0

    def add(self, entry: FileEntry) -> None:
        """Add the next entry of the layer."""
        path = clean_path(entry.name)
        if len(path) > MAX_PATH_BYTES:
            return
        *folders, name = path[1:].split(b"/")
        if any(folder.startswith(_MARKER) for folder in folders):
            return  # metadata of aufs, which some old layers contain
        directory, children = self._directory(folders)
        if name == OPAQUE_MARKER:
            directory.is_opaque = True
        elif name.startswith(_MARKER):
            return
        elif name.startswith(_WHITEOUT):
            directory.whiteouts = (directory.whiteouts or set()) | {name.removeprefix(_WHITEOUT)}
        else:
            self._put(children, name, entry)

    def _put(self, children: dict[bytes, _Inode], name: bytes, entry: FileEntry) -> None:
        inode = _Inode(layer=self._layer, entry=entry, data_layer=self._layer, data=entry)
        if entry.type == "hardlink":
            target = _find(self.root, entry.link_name) or _find(self._lower, entry.link_name)
            inode.data, inode.data_layer = (target.data, target.data_layer) if target else (None, self._layer)
        if not name:
            if entry.type == "dir":
                self.root.entry = self.root.data = entry
            return
        before = children.get(name)
        if entry.type == "dir":
            if before is not None and before.children is not None:
                inode.children = before.children
                inode.is_opaque, inode.whiteouts = before.is_opaque, before.whiteouts
            else:
                inode.children = {}
        children[name] = inode

    def _directory(self, folders: Sequence[bytes]) -> tuple[_Inode, dict[bytes, _Inode]]:
        """Return a directory of the layer and its children. A missing directory is made."""
        inode, children = self.root, self._top
        for folder in folders:
            child = children.get(folder)
            if child is None or child.children is None:
                self._implied += 1
                if self._implied > MAX_IMPLIED_DIRECTORIES:
                    raise InvalidZtoc(
                        f"layer {self._layer} implies more than {MAX_IMPLIED_DIRECTORIES} directories"
                    )
                below: dict[bytes, _Inode] = {}
                child = children[folder] = _Inode(layer=self._layer, children=below)
            else:
                below = child.children
            inode, children = child, below
        return inode, children


def _find(root: _Inode, name: bytes) -> _Inode | None:
    """Find anything but a directory by its path, without following links."""
    inode: _Inode | None = root
    for part in clean_path(name)[1:].split(b"/"):
        inode = (inode.children or {}).get(part) if inode else None
    return inode if inode and inode.children is None else None


def _lay_over(lower: _Inode, upper: _Inode) -> None:
    """Add to a layer's tree what lower layers have and the layer does not hide."""
    todo = [(lower, upper)]
    while todo:
        lower, upper = todo.pop()
        if upper.entry is None and lower.entry is not None:  # implied: it has the attributes of what is below
            upper.layer, upper.entry = lower.layer, lower.entry
            upper.data_layer, upper.data = lower.data_layer, lower.data
        hidden = upper.whiteouts or set()
        if upper.is_opaque or lower.children is None or upper.children is None:
            continue
        for name, below in lower.children.items():
            if name in hidden:
                continue
            above = upper.children.setdefault(name, below)
            if above is not below and above.children is not None and below.children is not None:
                todo.append((below, above))


def _node(path: bytes, inode: _Inode) -> Node:
    return Node(path=path, layer=inode.layer, entry=inode.entry, data_layer=inode.data_layer, data=inode.data)


def _join(path: bytes, name: bytes) -> bytes:
    return path.rstrip(b"/") + b"/" + name
