"""Files that have another name in the next build, because a version or a hash is part of it.

    /usr/lib/libfoo-6c00b77a.so.1.2    libfoo-9a1c22ee.so.1.3      a shared library of a wheel
    /opt/app-1.4.2/lib/main.js         app-1.4.3/lib/main.js       a directory with the version

A profile names paths, so it would lose them with each release. A successor is only taken if there is no choice: one
entry of the directory has the name, numbers apart, and a file's size has changed by less than half. The worst that a
wrong guess can do is to fetch some bytes for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from soci.errors import NotInImage
from soci.image.filesystem import FileSystem, Node
from soci.start.profile import FileRead, StartProfile, make_profile

_NUMBER = re.compile(rb"[0-9a-f]{8,}|\d+(?:[.+_-]\d+)*")
"""A hash, or a number with its parts."""

_MAX_FOLDERS = 32
"""Files that lie deeper are not looked for: each directory on the way is looked up from the root."""

_MAX_ENTRIES = 200_000
"""How many entries of directories are looked at. A profile with many missing files must not list them all."""


def find_successors(
    profile: StartProfile, missing: Iterable[bytes], files: FileSystem
) -> dict[bytes, FileRead]:
    """Find the files that stand for missing ones.

    Args:
        profile: what a start of an earlier build reads.
        missing: paths of the profile that the image does not have.
        files: the merged view of the image's layers.

    Returns:
        The read of each successor, by the path that is missing. Each successor stands for one file.
    """
    reads = {read.path: read for read in profile.files}
    search = _Search(files)
    found: dict[bytes, FileRead] = {}
    taken = set(reads)
    for path in missing:
        read, node = reads[path], search.find(path)
        if node is None or node.path in taken or not _is_similar(read, node):
            continue
        taken.add(node.path)
        found[path] = replace(read, path=node.path)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProfile:
    """A profile as it fits an image."""

    profile: StartProfile
    """With successors in place of the files that they stand for."""
    missing: tuple[bytes, ...]
    """Paths of the profile that the image does not have, in its order."""
    renamed: dict[bytes, bytes]
    """The paths of the successors by those that are missing."""


def fit_profile(profile: StartProfile, files: FileSystem) -> FittedProfile:
    """Fit a profile of an earlier build to the files of an image."""
    missing = tuple(one.path for one in profile.files if not _is_there(one.path, files))
    successors = find_successors(profile, missing, files)
    return FittedProfile(
        profile=with_successors(profile, successors),
        missing=missing,
        renamed={path: read.path for path, read in successors.items()},
    )


def with_successors(profile: StartProfile, successors: dict[bytes, FileRead]) -> StartProfile:
    """Return a profile with the successors in place of the files that they stand for."""
    if not successors:
        return profile
    reads = [successors.get(read.path, read) for read in profile.files]
    return make_profile(
        reads,
        image=profile.image,
        platform=profile.platform,
        program=profile.program,
        starts=profile.starts,
    )


class _Search:
    """Looks for paths whose names differ in numbers alone. Each directory is listed once."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._folders: dict[bytes, bytes | None] = {b"": b""}
        self._listed: dict[bytes, dict[bytes, list[Node]]] = {}
        self._left = _MAX_ENTRIES

    def find(self, path: bytes) -> Node | None:
        """Return the one regular file that the path may have become."""
        folder, _, name = path.rpartition(b"/")
        if folder.count(b"/") > _MAX_FOLDERS:
            return None
        here = self._folder(folder)
        node = None if here is None else self._child(here, name)
        return node if node is not None and node.type == "reg" else None

    def _folder(self, path: bytes) -> bytes | None:
        """Return the directory that a path may have become."""
        if path not in self._folders:
            above, _, name = path.rpartition(b"/")
            here = self._folder(above)
            node = None if here is None else self._child(here, name)
            self._folders[path] = node.path if node is not None and node.type == "dir" else None
        return self._folders[path]

    def _child(self, directory: bytes, name: bytes) -> Node | None:
        """Return the entry of this name, with links followed, else the only one that differs in numbers alone."""
        try:
            return self._files.lookup(directory + b"/" + name)
        except NotInImage:
            pass
        pattern = _NUMBER.sub(b"#", name)
        if pattern == name:
            return None
        alike = self._entries(directory or b"/").get(pattern, [])
        return alike[0] if len(alike) == 1 else None

    def _entries(self, directory: bytes) -> dict[bytes, list[Node]]:
        """Return the entries of a directory by their names without numbers."""
        if directory not in self._listed:
            entries = self._files.list(directory) if self._left > 0 else ()
            self._left -= len(entries)
            listed = self._listed[directory] = {}
            for node in entries:
                if node.type in ("reg", "dir"):
                    listed.setdefault(_NUMBER.sub(b"#", node.path.rpartition(b"/")[2]), []).append(node)
        return self._listed[directory]


def _is_there(path: bytes, files: FileSystem) -> bool:
    try:
        node = files.lookup(path)
    except NotInImage:
        return False
    return node.type == "reg" and node.data is not None


def _is_similar(read: FileRead, node: Node) -> bool:
    if node.data is None or read.size_bytes is None:
        return node.data is not None
    small, large = sorted((read.size_bytes, node.data.uncompressed_size))
    return 2 * small > large or small == large
