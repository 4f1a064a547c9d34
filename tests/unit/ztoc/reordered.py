"""Reorder a tar in memory, from the table of its zTOC."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from soci.layer.decompress import decompress_layer
from soci.layer.tar import TarReader
from soci.ztoc.entries import file_entry_of
from soci.ztoc.model import FileEntry
from soci.ztoc.reorder import Reordering, plan_reordering


def entries_of(tar: bytes) -> list[FileEntry]:
    """The entries, also of layers that get no zTOC."""
    reader = TarReader()
    return [file_entry_of(entry) for chunk in decompress_layer([tar]) for entry in reader.feed(chunk)]


def plan_for(tar: bytes, wanted: Sequence[str], lower_links: Collection[bytes] = frozenset()) -> Reordering:
    """Plan with names as the tar has them; the last entry of a name is meant."""
    entries = entries_of(tar)
    numbers = {entry.name: number for number, entry in enumerate(entries)}
    return plan_reordering(
        entries,
        [numbers[name.encode()] for name in wanted],
        archive_bytes=len(tar),
        lower_links=lower_links,
    )


def rearranged(tar: bytes, made: Reordering) -> bytes:
    """The tar in the new order."""
    end = made.segments[-1].end if made.segments else 0
    parts = [tar[made.segments[number].start : made.segments[number].end] for number in made.order]
    return b"".join(parts) + tar[end:]
