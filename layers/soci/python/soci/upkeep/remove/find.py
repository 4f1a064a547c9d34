"""Find what the indexes of an image added and nothing else references. This module changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.image.documents import Image, fetch_image
from soci.index.classify import is_converted
from soci.index.document import Document
from soci.index.original import original_config
from soci.index.revert import strip_index
from soci.oci import media_types
from soci.oci.annotations import REF_NAME
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.places.ports import DescriptorSource, EntryPoint, ImageSource, ImageStore, ReferrerSource
from soci.upkeep.remove.reachability import Reachability, fetch_tree, find_reachability
from soci.upkeep.remove.removal_list import InterruptedRemoval


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedSource:
    """A tag of the image's repository or layout, opened for reading."""

    source: ImageSource
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The image to remove the index from."""

    store: ImageStore
    image: Image
    tag: str | None
    converted: TaggedSource | None = None
    """The tag of its converted image. Nothing need be there."""

    @property
    def name(self) -> str:
        """The tag, or the digest."""
        return self.tag or str(self.image.root.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What to delete, and what replaces it."""

    converted: Descriptor | None
    """The root of the converted image whose tag is deleted."""
    manifests: tuple[Descriptor, ...]
    """Manifests to delete, in this order: referring documents first."""
    subjects: Mapping[Digest, Digest]
    """The subject of each version 1 index."""
    blobs: tuple[Digest, ...]
    """zTOCs, prefetch artifacts and recompressed layers. Whether others need them is checked at deletion."""
    still_referenced: Mapping[Digest, tuple[str, ...]]
    """Documents that are kept because others lead to them, with the names of the others: tags, or digests of entries
    without a tag."""
    shared_with: tuple[str, ...]
    """Other tags of an image manifest that loses its version 1 index."""
    replacement: tuple[Document, ...]
    """The documents of the image without its index, the root last; empty if the image itself does not change."""
    interrupted: tuple[InterruptedRemoval, ...]
    """Earlier removals that did not finish."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.converted or self.manifests or self.replacement or self.interrupted)


def fetch_removal(target: Target) -> Removal:
    """Find the documents of an image's indexes, and which of them others need.

    Raises:
        SourceError, IntegrityError: a document could not be read.
    """
    image, store = target.image, target.store
    replacement = strip_index(image) if is_converted(image) else ()
    converted = None if replacement else _fetch_converted(target)
    enabled = image if replacement else converted
    tree = list(fetch_tree(store, enabled.root, store.fetch_manifest(enabled.root))) if enabled else []
    indexes_v1, subjects = _fetch_indexes_v1(store, image, *([converted] if converted else []))
    relevant = {one.digest for one in tree} | subjects.keys() | set(subjects.values())
    reachability, rest = _fetch_reachability(target, relevant, _is_own(target, enabled, subjects))
    reached_from = reachability.reached_from
    documents = sorted((*tree, *rest), key=lambda one: not media_types.is_index(one.media_type))
    kept = _fetch_kept(store, image, replacement)
    still_referenced = {
        one.digest: reached_from[one.digest]
        for one in (*documents, *indexes_v1)
        if one.digest in reached_from and one.digest not in kept
    }
    deleted = [one for one in documents if one.digest not in kept and one.digest not in still_referenced]
    unindexed = {one.descriptor.digest for one in image.images} | {one.digest for one in deleted}
    deleted += [
        one for one in indexes_v1 if subjects[one.digest] in unindexed and one.digest not in still_referenced
    ]
    return Removal(
        converted=converted.root if converted else None,
        manifests=tuple(deleted),
        subjects=subjects,
        blobs=tuple(_fetch_blobs(store, image, deleted, reachability.interrupted)),
        still_referenced=still_referenced,
        shared_with=_shared_with(target, deleted, subjects, reached_from),
        # Without a tag to move, nothing would lead to the new documents.
        replacement=() if target.tag is None and image.root.digest in still_referenced else replacement,
        interrupted=reachability.interrupted,
    )


def _fetch_reachability(
    target: Target, documents: Collection[Digest], is_own: Callable[[EntryPoint], bool]
) -> tuple[Reachability, list[Descriptor]]:
    """Find what leads to the documents, and to what earlier removals left over. Returns the left-overs too."""
    reachability = find_reachability(target.store, documents, target.name, is_own=is_own)
    rest = [one for one in _fetch_rest(target.store, reachability.interrupted) if one.digest not in documents]
    if rest:
        everything = {*documents, *(one.digest for one in rest)}
        reachability = find_reachability(target.store, everything, target.name, is_own=is_own)
    return reachability, rest


def _shared_with(
    target: Target,
    deleted: Iterable[Descriptor],
    subjects: Mapping[Digest, Digest],
    reached_from: Mapping[Digest, tuple[str, ...]],
) -> tuple[str, ...]:
    """Return the other tags of the image manifests whose version 1 indexes are deleted."""
    losing = {subjects[one.digest] for one in deleted if one.digest in subjects}
    tags = {name for subject in losing for name in reached_from.get(subject, ())}
    return tuple(sorted(tags - {target.tag}))


def _fetch_converted(target: Target) -> Image | None:
    """Return the target's converted image; None if its tag is missing or leads to something else, which is kept."""
    if target.converted is None:
        return None
    try:
        found = fetch_image(target.converted.source)
    except (NotInImage, InvalidDocument):
        return None
    configs = {one.manifest.config.digest for one in target.image.images}
    is_same_image = bool(found.images) and all(
        original_config(one.manifest) in configs for one in found.images
    )
    return found if is_same_image and is_converted(found) else None


def _fetch_indexes_v1(source: ImageSource, *images: Image) -> tuple[list[Descriptor], dict[Digest, Digest]]:
    """Return the version 1 indexes of some images, and the subject of each."""
    found: dict[Digest, Descriptor] = {}
    subjects = {}
    if isinstance(source, ReferrerSource):
        for subject in dict.fromkeys(one.descriptor.digest for image in images for one in image.images):
            for index in source.fetch_referrers(subject, media_types.SOCI_INDEX_V1):
                found[index.digest], subjects[index.digest] = index, subject
    return list(found.values()), subjects


def _is_own(
    target: Target, enabled: Image | None, indexes_v1: Collection[Digest]
) -> Callable[[EntryPoint], bool]:
    """Return a test for the entry points that are deleted: the SOCI-enabled image's tag, and untagged entries."""
    roots = {*indexes_v1, *((enabled.root.digest,) if enabled else ())}
    tags: set[str | None] = {None}
    if enabled is target.image and target.tag is not None:
        tags |= {target.tag, target.image.root.annotations.get(REF_NAME)}
    elif target.converted is not None:
        tags |= {target.converted.tag}
    return lambda entry_point: entry_point.tag in tags and entry_point.root.digest in roots


def _fetch_rest(store: ImageStore, interrupted: Iterable[InterruptedRemoval]) -> Iterator[Descriptor]:
    """Describe the manifests that earlier removals have not deleted yet."""
    if isinstance(store, DescriptorSource):
        for digest in dict.fromkeys(digest for one in interrupted for digest in one.rest.manifests):
            with suppress(BlobMissing, NotInImage):
                yield store.fetch_descriptor(digest)


def _fetch_kept(source: ImageSource, image: Image, replacement: Sequence[Document]) -> set[Digest]:
    """Return the documents of the image as it will be."""
    if not replacement:
        tree = fetch_tree(source, image.root, source.fetch_manifest(image.root))
    else:
        tree = fetch_tree(source, replacement[-1].descriptor, replacement[-1].data)
    return {one.digest for one in tree}


def _fetch_blobs(
    source: ImageSource,
    image: Image,
    manifests: Iterable[Descriptor],
    interrupted: Iterable[InterruptedRemoval],
) -> Iterator[Digest]:
    """Yield each blob that the manifests list and the image does not."""
    own = {
        blob.digest for one in image.images for blob in (one.manifest.config, *(one.manifest.layers or ()))
    }
    found = [digest for one in interrupted for digest in one.rest.blobs]
    for descriptor in manifests:
        if media_types.is_manifest(descriptor.media_type):
            with suppress(BlobMissing):
                data = source.fetch_manifest(descriptor)
                manifest = ImageManifest.parse(data, f"manifest {descriptor.digest}")
                found += [blob.digest for blob in (*(manifest.layers or ()), manifest.config)]
    yield from (digest for digest in dict.fromkeys(found) if digest not in own)
