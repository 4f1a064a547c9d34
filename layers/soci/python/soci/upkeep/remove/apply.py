"""Apply a removal, in an order that every registry accepts and a rerun can resume."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from soci.build.tagging import TagLeftAlone, push_tagged
from soci.errors import DeletionRefused, NotInImage, TagNotDeletable
from soci.index.document import Document
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.places.ports import ImageSource, ImageStore
from soci.upkeep.remove.find import Removal, Target
from soci.upkeep.remove.removal_list import TAG_PREFIX, RemovalList

_NOTHING = digest_of(b"")
"""No manifest has this digest. The answer to its deletion tells whether the place deletes at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A manifest that the place refused to delete, and its error message."""

    digest: Digest
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalResult:
    """The result of a removal. After a refusal, rerunning resumes with the rest."""

    left_alone: TagLeftAlone | None = None
    """Why nothing was removed: a tag moved, or may not move."""
    refused: tuple[Refusal, ...] = ()
    blobs_freed: int = 0
    """0 in a registry, which frees blobs by itself later."""

    @property
    def is_done(self) -> bool:
        """Whether everything planned was deleted."""
        return self.left_alone is None and not self.refused


def remove_index(target: Target, removal: Removal) -> RemovalResult:
    """Apply a removal. The replacement is published before anything is deleted.

    Raises:
        SourceError: the place does not delete, and nothing has changed; or it failed halfway, and rerunning resumes.
    """
    store = target.store
    store.delete_manifest(_NOTHING)
    work = RemovalList(
        image=target.name, manifests=tuple(one.digest for one in removal.manifests), blobs=removal.blobs
    ).encode()
    _push_list(store, work)
    left_alone = _change_tags(target, removal, work)
    if left_alone is not None:
        _delete_lists(store, [work.descriptor.digest])
        return RemovalResult(left_alone=left_alone)
    refused = _delete_manifests(store, removal)
    freed = store.delete_blobs([*(one.digest for one in removal.manifests), *removal.blobs])
    lists = {one.digest for one in removal.interrupted} | {work.descriptor.digest}
    _delete_lists(store, lists - {work.descriptor.digest} if refused else lists)
    freed += store.delete_blobs([EMPTY_CONFIG.descriptor.digest])
    return RemovalResult(refused=refused, blobs_freed=freed)


def _push_list(store: ImageStore, work: Document) -> None:
    if not store.has_blob(EMPTY_CONFIG.descriptor):
        store.push_blob(EMPTY_CONFIG.descriptor, (EMPTY_CONFIG.data,))
    store.push_manifest(work.descriptor, work.data)
    store.push_root(work.descriptor, TAG_PREFIX + work.descriptor.digest.hex[:32])


def _delete_lists(store: ImageStore, lists: Collection[Digest]) -> None:
    for digest in lists:
        store.delete_manifest(digest)
    store.delete_blobs(lists)


def _change_tags(target: Target, removal: Removal, work: Document) -> TagLeftAlone | None:
    """Delete the converted image's tag, or move the image's tag to its replacement, unless a tag has moved."""
    store = target.store
    if not _still_means(store, target.image.root):
        return TagLeftAlone.SOURCE_MOVED
    if removal.replacement:
        for document in removal.replacement:
            store.push_manifest(document.descriptor, document.data)
        return push_tagged(store, target.image.root, store, removal.replacement[-1].descriptor, target.tag)
    if removal.converted is not None and target.converted is not None:
        if not _still_means(target.converted.source, removal.converted):
            return TagLeftAlone.SOURCE_MOVED
        if removal.converted.digest in removal.still_referenced:
            _take_tag_away(store, target.converted.tag, work)
    return None


def _still_means(source: ImageSource, root: Descriptor) -> bool:
    try:
        return source.fetch_root().digest == root.digest
    except NotInImage:
        return False


def _take_tag_away(store: ImageStore, tag: str, work: Document) -> None:
    """Delete only a tag. Where a registry deletes manifests only, move the tag to the list, which is deleted last."""
    try:
        store.delete_tag(tag)
    except TagNotDeletable:
        store.push_root(work.descriptor, tag)


def _delete_manifests(store: ImageStore, removal: Removal) -> tuple[Refusal, ...]:
    """Delete manifests with their tags. Stop at an index that is kept: it may list those that follow."""
    refused = []
    for one in removal.manifests:
        try:
            store.delete_manifest(one.digest, subject=removal.subjects.get(one.digest))
        except DeletionRefused as error:
            refused.append(Refusal(digest=one.digest, error=str(error)))
            if media_types.is_index(one.media_type):
                break
    return tuple(refused)
