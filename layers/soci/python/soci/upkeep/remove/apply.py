"""Carrying a removal out: in an order in which every registry can follow, and which can be taken up again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from soci.build.tagging import TagLeftAlone, push_tagged
from soci.errors import NotInImage, RegistryError
from soci.index.document import Document
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.places.ports import ImageSource, ImageStore
from soci.upkeep.remove.find import Removal, Target
from soci.upkeep.remove.removal_list import TAG_PREFIX, RemovalList

_NOTHING = digest_of(b"")
"""The digest of no manifest: whoever is asked to delete it tells whether he deletes at all."""

_TAGS_STAY = (400, 405)
"""What registries answer that delete manifests, but no tag alone."""

_REFUSED = (400, 403, 405, 409)
"""What registries answer when they keep a manifest, such as one that an untagged index still lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A manifest that the place keeps, and what it says of that."""

    digest: Digest
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalResult:
    """What came of a removal. Where anything was refused the same call goes on with the rest."""

    left_alone: TagLeftAlone | None = None
    """Why nothing was removed, if a tag stood in the way."""
    refused: tuple[Refusal, ...] = ()
    blobs_freed: int = 0
    """Registries free them by themselves, later: there it is 0."""

    @property
    def is_done(self) -> bool:
        """Whether all is gone that should go."""
        return self.left_alone is None and not self.refused


def remove_index(target: Target, removal: Removal) -> RemovalResult:
    """Carry a removal out; the image's replacement is published before anything goes.

    Raises:
        SourceError: the place does not delete, and nothing is changed; or it failed on the way, and the same call
            goes on with what is left.
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
    """Take the copy's tag away, or put the image's on what replaces it, if they still mean what was looked at."""
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
    """Take a tag alone. Where only manifests can be deleted it moves to the list, which is deleted last."""
    try:
        store.delete_tag(tag)
    except RegistryError as error:
        if error.status not in _TAGS_STAY:
            raise
        store.push_root(work.descriptor, tag)


def _delete_manifests(store: ImageStore, removal: Removal) -> tuple[Refusal, ...]:
    """Delete what goes, with its tags; after an index that has to stay nothing, since it may be listed there."""
    refused = []
    for one in removal.manifests:
        try:
            store.delete_manifest(one.digest, subject=removal.subjects.get(one.digest))
        except RegistryError as error:
            if error.status not in _REFUSED:
                raise
            refused.append(Refusal(digest=one.digest, error=str(error)))
            if media_types.is_index(one.media_type):
                break
    return tuple(refused)
