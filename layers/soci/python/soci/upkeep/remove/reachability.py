"""Which documents the entry points of a place (tags, entries of a layout) lead to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from soci.errors import BlobMissing
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex
from soci.places.ports import EntryPoint, ImageSource, ImageStore
from soci.upkeep.remove.removal_list import InterruptedRemoval, parse_interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachability:
    """What the entry points of a place lead to, of the documents that were asked about."""

    reached_from: Mapping[Digest, tuple[str, ...]]
    """By document: the tags that lead to it; an entry without a tag is named by its digest."""
    interrupted: tuple[InterruptedRemoval, ...]
    """Earlier removals of the same image that did not finish."""


def find_reachability(
    store: ImageStore, documents: Collection[Digest], image: str, *, is_own: Callable[[EntryPoint], bool]
) -> Reachability:
    """Find the entry points that lead to the documents, except the image's own. Memory grows with the documents only.

    Raises:
        SourceError, IntegrityError: a document that may refer to others cannot be read.
    """
    reached_from: dict[Digest, list[str]] = {}
    interrupted = []
    for entry_point in store.fetch_entry_points():
        if (removal := parse_interrupted(entry_point, image)) is not None:
            interrupted.append(removal)
        elif not is_own(entry_point):
            name = entry_point.tag or str(entry_point.root.digest)
            reached = {one.digest for one in fetch_tree(store, entry_point.root, entry_point.data)}
            for digest in reached.intersection(documents):
                reached_from.setdefault(digest, []).append(name)
    return Reachability(
        reached_from={digest: tuple(names) for digest, names in reached_from.items()},
        interrupted=tuple(interrupted),
    )


def fetch_tree(source: ImageSource, root: Descriptor, data: bytes) -> Iterator[Descriptor]:
    """Yield a root and all documents below it, also missing ones; parents before their children."""
    seen = {root.digest}
    queue: list[tuple[Descriptor, bytes | None]] = [(root, data)]
    while queue:
        document, content = queue.pop(0)
        yield document
        for entry in _fetch_entries(source, document, content):
            if entry.digest not in seen:
                seen.add(entry.digest)
                queue.append((entry, None))


def _fetch_entries(source: ImageSource, document: Descriptor, data: bytes | None) -> tuple[Descriptor, ...]:
    if not media_types.is_index(document.media_type):
        return ()
    try:
        data = source.fetch_manifest(document) if data is None else data
    except BlobMissing:
        return ()
    return ImageIndex.parse(data, f"index {document.digest}").manifests or ()
