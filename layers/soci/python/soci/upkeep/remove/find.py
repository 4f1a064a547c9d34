"""What an index made necessary and nobody else needs. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.image.documents import Image, PlatformImage, fetch_image
from soci.index.document import Document
from soci.index.revert import is_converted, strip_index
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
    """Where the SOCI-enabled copy of an image is, if there is one."""

    source: ImageSource
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The image that is to lose its index, within its place."""

    store: ImageStore
    image: Image
    tag: str | None
    copy: TaggedSource | None = None

    @property
    def name(self) -> str:
        """Its tag, or its digest."""
        return self.tag or str(self.image.root.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes and what takes its place."""

    copy: Descriptor | None
    """The root of the SOCI-enabled copy, whose tag goes."""
    manifests: tuple[Descriptor, ...]
    """In the order in which they may go: what refers to others goes before them."""
    subjects: Mapping[Digest, Digest]
    """Of indexes of version 1: what they refer to."""
    blobs: tuple[Digest, ...]
    """zTOCs, prefetch artifacts, gzip copies; whether anything else needs them shows when they are removed."""
    still_referenced: Mapping[Digest, tuple[str, ...]]
    """What would have gone, but stays: the tags, or digests of entries without one, that lead to it."""
    shared_with: tuple[str, ...]
    """Other tags that lead to an image manifest which loses its index of version 1."""
    replacement: tuple[Document, ...]
    """Documents of the image without its index, the root last; empty where the image itself stays as it is."""
    interrupted: tuple[InterruptedRemoval, ...]
    """What is left of earlier removals that were interrupted."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.copy or self.manifests or self.replacement or self.interrupted)


def fetch_removal(target: Target) -> Removal:
    """Find what belongs to the indexes of an image, and what of it others need.

    A copy that is not of this image is left alone.

    Raises:
        SourceError, IntegrityError: a document could not be read.
    """
    image, store = target.image, target.store
    replacement = strip_index(image) if is_converted(image) else ()
    copy = None if replacement or target.converted is None else _fetch_copy(target.converted, image)
    enabled = image if replacement else copy
    documents: list[Descriptor] = []
    if enabled is not None:
        documents += fetch_tree(store, enabled.root, store.fetch_manifest(enabled.root))
    referrers = list(_fetch_referrers(store, (*image.images, *(copy.images if copy else ()))))
    subjects = {referrer.digest: subject for referrer, subject in referrers}

    interest = {one.digest for one in documents} | subjects.keys() | set(subjects.values())
    around, rest = _look_around(target, interest, _own_ways(target, enabled, subjects))
    documents = sorted((*documents, *rest), key=lambda one: not media_types.is_index(one.media_type))
    kept = _documents_that_stay(store, image, replacement)
    still_referenced = {
        one.digest: around.reached_from[one.digest]
        for one in (*documents, *(referrer for referrer, _ in referrers))
        if one.digest in around.reached_from and one.digest not in kept
    }
    going = [one for one in documents if one.digest not in kept and one.digest not in still_referenced]
    losers = {one.descriptor.digest for one in image.images} | {one.digest for one in going}
    going_v1 = [one for one, of in referrers if of in losers and one.digest not in still_referenced]
    sharing = {tag for one in going_v1 for tag in around.reached_from.get(subjects[one.digest], ())}
    return Removal(
        converted=copy.root if copy else None,
        manifests=(*going, *going_v1),
        subjects=subjects,
        blobs=tuple(_fetch_blobs(store, image, (*going, *going_v1), around.interrupted)),
        still_referenced=still_referenced,
        shared_with=tuple(sorted(sharing - {target.tag})),
        # Without a tag that could move, new documents are of no use to anybody who leads to the old ones.
        replacement=() if target.tag is None and image.root.digest in still_referenced else replacement,
        interrupted=around.interrupted,
    )


def _look_around(
    target: Target, documents: set[Digest], is_own: Callable[[EntryPoint], bool]
) -> tuple[Reachability, list[Descriptor]]:
    """Find what leads to some documents, and to those which earlier removals have left; return the latter, too."""
    around = find_reachability(target.store, documents, target.name, is_own=is_own)
    rest = [one for one in _fetch_rest(target.store, around.interrupted) if one.digest not in documents]
    if rest:
        everything = documents | {one.digest for one in rest}
        around = find_reachability(target.store, everything, target.name, is_own=is_own)
    return around, rest


def _fetch_copy(place: TaggedSource, image: Image) -> Image | None:
    """Return the SOCI-enabled copy, if that is what lies there."""
    try:
        copy = fetch_image(place.source)
    except (NotInImage, InvalidDocument):
        return None
    configs = {one.manifest.config.digest for one in image.images}
    is_copy = bool(copy.images) and all(one.manifest.config.digest in configs for one in copy.images)
    return copy if is_copy and is_converted(copy) else None


def _fetch_referrers(
    source: ImageSource, images: Iterable[PlatformImage]
) -> Iterator[tuple[Descriptor, Digest]]:
    """Yield the indexes of version 1 and what each is for."""
    if isinstance(source, ReferrerSource):
        for subject in dict.fromkeys(one.descriptor.digest for one in images):
            for referrer in source.fetch_referrers(subject, media_types.SOCI_INDEX_V1):
                yield referrer, subject


def _own_ways(
    target: Target, enabled: Image | None, referrers: Collection[Digest]
) -> Callable[[EntryPoint], bool]:
    """Tell the ways in that go themselves: the tag of what is SOCI-enabled, and untagged entries of a layout."""
    roots = {*referrers, *((enabled.root.digest,) if enabled else ())}
    tags: set[str | None] = {None}
    if enabled is target.image and target.tag is not None:
        tags |= {target.tag, target.image.root.annotations.get(REF_NAME)}
    elif target.converted is not None:
        tags |= {target.converted.tag}
    return lambda entry_point: entry_point.tag in tags and entry_point.root.digest in roots


def _fetch_rest(store: ImageStore, interrupted: Iterable[InterruptedRemoval]) -> Iterator[Descriptor]:
    """Describe what earlier removals have not taken away yet."""
    if isinstance(store, DescriptorSource):
        for digest in dict.fromkeys(digest for one in interrupted for digest in one.rest.manifests):
            with suppress(BlobMissing, NotInImage):
                yield store.fetch_descriptor(digest)


def _documents_that_stay(source: ImageSource, image: Image, replacement: Sequence[Document]) -> set[Digest]:
    """Return the image's own documents, or those that it will have."""
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
    """Yield what some manifests list and the image does not: zTOCs, prefetch artifacts, gzip copies; each once."""
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
