"""A new order for the entries of a layer: the wanted files first. Pure; from the layer's table of files alone.

    before   [usr/] [usr/bin/] [usr/bin/a] [usr/lib/] [usr/lib/b] [usr/lib/c] [end]
    wanted   c, a
    after    [usr/] [usr/lib/] [usr/lib/c] [usr/bin/] [usr/bin/a] | [usr/lib/b] [end]

Each entry keeps its bytes: its extended headers, its own header, its data and their padding are one segment.

Unpackers read a tar from front to back, so order can carry meaning. A file moves only if it commutes with all that it
passes: its path occurs once, no whiteout hides the path or a directory above it, no hard link to it came before it,
and no directory above it has its entry or its marker behind what it holds. Directories go before what they hold, with
the markers that make them opaque. A hard link has no content, so its target moves in its place. The links stay, since
the last one decides the attributes of all. Where an entry lies below something that is no directory, a path may name
another file than it says. Then nothing in the layer moves. What stays is counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from soci.errors import InvalidZtoc
from soci.layer.tar import BLOCK_BYTES
from soci.ztoc.entries import OPAQUE_MARKER
from soci.ztoc.model import FileEntry
from soci.ztoc.paths import clean_path

_ROOT = b"/"
_WHITEOUT = b".wh."
MAX_PATH_BYTES = 4096
"""Linux cannot open a longer path (PATH_MAX). A layer that has one is not reordered."""


class Segment(NamedTuple):
    """The bytes [start, end) of one entry in the uncompressed layer, with all its headers and its padding."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reordering:
    """The entries of a layer in their new order. The end of the archive stays last."""

    order: tuple[int, ...]
    """The number of each entry in the old order."""
    segments: tuple[Segment, ...]
    """Of each entry, in the old order."""
    moved: int
    """The first so many entries of `order` were moved to the front; 0 if the layer has to stay as it is."""
    left: int
    """How many wanted files stay where they are, because order carries meaning there."""

    @property
    def front_bytes(self) -> int:
        """The size of what was moved to the front."""
        return sum(
            self.segments[number].end - self.segments[number].start for number in self.order[: self.moved]
        )


def plan_reordering(
    entries: Sequence[FileEntry],
    wanted: Iterable[int],
    *,
    archive_bytes: int,
    lower_links: Collection[bytes] | None = frozenset(),
) -> Reordering:
    """Find the order of a layer's entries that has the wanted ones in front.

    Args:
        entries: the layer's table of files.
        wanted: numbers of entries, the one needed first in front.
        archive_bytes: the size of the tar.
        lower_links: the clean paths of the symbolic links in the layers below; None if they are not known.

    Raises:
        InvalidZtoc: the positions of the entries are not those of a tar.
    """
    segments = tuple(_segments_of(entries))
    table = _Table(entries, lower_links)
    wanted = list(dict.fromkeys(wanted))
    placed: dict[int, None] = {}
    left = 0
    for number in wanted:
        content = table.content_of(number)
        if table.is_plain and table.can_move(content) and segments[content].end <= archive_bytes:
            placed |= dict.fromkeys(table.with_directories(content))
        else:
            left += 1
    rest = (number for number in range(len(entries)) if number not in placed)
    return Reordering(order=(*placed, *rest), segments=segments, moved=len(placed), left=left)


def has_same_entries(before: Sequence[FileEntry], made: Reordering, after: Sequence[FileEntry]) -> bool:
    """Tell whether a layer's table has the entries of another one in the new order, equal in all but position."""
    return len(before) == len(after) and all(
        before[number]._replace(uncompressed_offset=0) == entry._replace(uncompressed_offset=0)
        for number, entry in zip(made.order, after, strict=True)
    )


def _segments_of(entries: Iterable[FileEntry]) -> Iterator[Segment]:
    """Yield the segment of each entry. It begins where the one before ends, and so holds the extended headers."""
    start = 0
    for entry in entries:
        data = entry.uncompressed_offset
        if data < start + BLOCK_BYTES or data % BLOCK_BYTES or entry.uncompressed_size < 0:
            raise InvalidZtoc(f"{entry.name[:100]!r}: its data cannot begin at byte {data} of the tar")
        end = data + (-(-entry.uncompressed_size // BLOCK_BYTES) * BLOCK_BYTES if entry.type == "reg" else 0)
        yield Segment(start, end)
        start = end


class _Table:
    """A layer's entries by path, and what their order means."""

    def __init__(self, entries: Sequence[FileEntry], lower_links: Collection[bytes] | None) -> None:
        self._entries = entries
        self._lower_links = lower_links
        self._paths = [clean_path(entry.name) for entry in entries]
        self._first: dict[bytes, int] = {}
        self._repeated: set[bytes] = set()
        """Paths with several entries, unless all are directories."""
        self._others: set[bytes] = set()
        """Paths with an entry that is no directory."""
        self._hidden: set[bytes] = set()
        """What the layer's whiteouts hide."""
        self._markers: dict[bytes, list[int]] = {}
        """The entries that make a directory opaque."""
        self._linked_before: set[bytes] = set()
        """Targets of hard links that come before them, or are in lower layers."""
        self._filled: set[bytes] = set()
        """Directories with something in them so far."""
        self._late: set[bytes] = set()
        """Directories whose own entry, or the marker that makes them opaque, comes behind what they hold."""
        for number, (entry, path) in enumerate(zip(entries, self._paths, strict=True)):
            self._add(number, entry, path)
        self._plain_folders: dict[bytes, bool] = {}
        self.is_plain = all(self._is_plain(number) for number in range(len(entries)))
        """Whether each path, and each hard link's target, names just the file that it says."""

    def _add(self, number: int, entry: FileEntry, path: bytes) -> None:
        folder, name = _split(path)
        if entry.type == "dir" and path not in self._first and path in self._filled:
            self._late.add(path)
        if entry.type != "dir":
            self._others.add(path)
        if path in self._first and path in self._others:
            self._repeated.add(path)
        self._first.setdefault(path, number)
        if name == OPAQUE_MARKER:
            self._markers.setdefault(folder, []).append(number)
            if folder in self._filled:
                self._late.add(folder)
        else:
            self._filled.update(_folders_above(path))
        if name != OPAQUE_MARKER and name.startswith(_WHITEOUT):
            self._hidden.add(_join(folder, name.removeprefix(_WHITEOUT)))
        if entry.type == "hardlink" and (target := clean_path(entry.link_name)) not in self._first:
            self._linked_before.add(target)

    def _is_plain(self, number: int) -> bool:
        entry = self._entries[number]
        names = [(entry.name, self._paths[number])]
        if entry.type == "hardlink":
            names.append((entry.link_name, clean_path(entry.link_name)))
        return all(
            len(name) <= MAX_PATH_BYTES
            and b".." not in name.split(b"/")
            and self._is_plain_folder(_split(path)[0])
            and self._is_real(path, number)
            for name, path in names
        )

    def _is_plain_folder(self, folder: bytes) -> bool:
        """Tell whether a directory and all above it are nothing else in this layer."""
        known = self._plain_folders.get(folder)
        if known is None:
            known = self._others.isdisjoint((folder, *_folders_above(folder)))
            self._plain_folders[folder] = known
        return known

    def _is_real(self, path: bytes, number: int) -> bool:
        """Tell whether no directory above a path is still a link of a lower layer when the entry is unpacked."""
        links = self._lower_links
        if links is not None and not links:
            return True
        return all(
            self._first.get(folder, number) < number or (links is not None and folder not in links)
            for folder in _folders_above(path)
            if folder != _ROOT
        )

    def content_of(self, number: int) -> int:
        """Return the number of the entry with the content: of a hard link its target, if the layer has it before."""
        entry = self._entries[number]
        target = self._first.get(clean_path(entry.link_name), number) if entry.type == "hardlink" else number
        return min(target, number)

    def can_move(self, number: int) -> bool:
        """Tell whether a file may pass all entries that do not go with it."""
        entry, path = self._entries[number], self._paths[number]
        return (
            entry.type == "reg"
            and not entry.name.endswith(b"/")
            and path not in self._repeated
            and path not in self._linked_before
            and b"/" + _WHITEOUT not in path
            and self._hidden.isdisjoint((path, *_folders_above(path)))
            and self._late.isdisjoint(_folders_above(path))
        )

    def with_directories(self, number: int) -> Iterator[int]:
        """Yield the directories above an entry, from the root down, and the entry."""
        for folder in _folders_above(self._paths[number]):
            if folder in self._first:
                yield self._first[folder]
            yield from self._markers.get(folder, ())
        yield number


def _folders_above(path: bytes) -> Iterator[bytes]:
    """Yield the directories above a path, from the root down; none above the root."""
    if path != _ROOT:
        yield _ROOT
    at = path.find(b"/", 1)
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _split(path: bytes) -> tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return folder or _ROOT, name


def _join(folder: bytes, name: bytes) -> bytes:
    return folder.rstrip(b"/") + b"/" + name
