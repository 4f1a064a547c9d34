"""A zTOC is made once per layer and settings: what was made before is found, checked, and taken over.

    find        the catalog's entry for the layer and the settings
    here?       the zTOC lies in this repository: HEAD
    elsewhere?  it lies in a repository that the entry lists: fetched from there
    check       its bytes, and three spans of the layer through it         soci.build.reuse
    take over   mounted by the registry, or else written here

The catalog vouches for what it says: a builder of this stack read the whole layer, and got a zTOC of this digest. Where
that zTOC is kept is not trusted, so what an entry leads to is checked before the repository gets it; whatever is not
right costs no more than the building of a zTOC that could have been spared.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from soci.build.plan import PlannedLayer
from soci.build.recompress import LayerCopy, fetch_diff_ids
from soci.build.reuse import ReuseKey, check_again
from soci.errors import (
    DamagedLayer,
    DigestMismatch,
    IntegrityError,
    InvalidDocument,
    InvalidReference,
    SourceError,
)
from soci.image.documents import fetch_image
from soci.image.indexed import fetch_ztoc
from soci.layer.decompress import decompress_layer
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.integrity import checked
from soci.places.ports import BlobMounter, ImageOpener, ImageSource, ImageStore
from soci.service.layer_messages import GzipCopyMade, LayerOutcome, Reused
from soci.service.message_codec import Mark, Message, decode
from soci.settings import IndexSettings

MAX_REPOSITORIES = 8
"""That an entry lists. One is enough; the others are for when it is deleted, or not ours to read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Message):
    """A zTOC that was made, and where it lies."""

    ztoc: Digest
    size: int
    """Of the zTOC in bytes."""
    repositories: tuple[str, ...]
    """Those that hold it, the latest first."""
    copy: Annotated[GzipCopyMade | None, Mark.OMITTED] = None
    """Of a zstd layer: the gzip copy that the zTOC is for, in the same repositories."""

    def also_in(self, repository: str) -> Entry:
        """Return the entry with one more repository."""
        others = [one for one in self.repositories if one != repository]
        return replace(self, repositories=(repository, *others)[:MAX_REPOSITORIES])

    @classmethod
    def from_document(cls, document: object, name: str) -> Entry:
        """Read it back; `name` stands for it in messages. Raises `InvalidDocument` that names the path."""
        fields = Fields(document, name)
        return decode(cls, fields, repositories=fields.strings("repositories")[:MAX_REPOSITORIES])


class ZtocCatalog(Protocol):
    """What is known of the zTOCs that were made. It may forget, or be away."""

    def find(self, key: ReuseKey) -> Entry | None:
        """Return what was recorded; None if that is nothing.

        Raises `InvalidDocument` for what is no entry, or was not recorded here for this key.
        """

    def record(self, key: ReuseKey, entry: Entry) -> None:
        """Know it from now on, instead of what was known before. Only for what was made of the layer itself."""

    def also_in(self, key: ReuseKey, entry: Entry, repository: str) -> None:
        """Know of one more repository that has what was found."""


class NothingKnown:
    """A `ZtocCatalog` for where there is none."""

    def find(self, key: ReuseKey) -> Entry | None:  # noqa: ARG002 - a port's method
        """See `ZtocCatalog`."""
        return None

    def record(self, key: ReuseKey, entry: Entry) -> None:
        """See `ZtocCatalog`."""

    def also_in(self, key: ReuseKey, entry: Entry, repository: str) -> None:
        """See `ZtocCatalog`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlace:
    """A layer that is to be indexed, and where it lies."""

    planned: PlannedLayer
    settings: IndexSettings
    repository: str
    image: Digest
    """The root of the image that has the layer."""
    store: ImageStore
    """The repository, opened at the image."""
    open_image: ImageOpener

    def open(self, repository: str) -> ImageSource:
        """Open another repository of the same registry. Raises `InvalidDocument` for what cannot be its name."""
        try:
            return self.open_image(repository, str(self.image))
        except InvalidReference as error:
            raise InvalidDocument(str(error)) from None


def reuse(place: LayerPlace, key: ReuseKey, catalog: ZtocCatalog) -> LayerOutcome | None:
    """Have a zTOC that was made before in this repository; None when it has to be made.

    What is wrong with the catalog's entry is told in one line of the log.

    Raises:
        SourceError: the repository could not be read or written.
    """
    try:
        entry = catalog.find(key)
        outcome = None if entry is None else _reuse_entry(place, entry)
    except (IntegrityError, DamagedLayer) as error:
        _log.warning("poisoned: what is known of the zTOC of %s is wrong, so it is made anew: %s", key, error)
        return None
    if entry is not None and outcome is not None:
        catalog.also_in(key, entry, place.repository)
    return outcome


def fetch_diff_ids_of(source: ImageSource, layer: Digest) -> Iterator[Digest]:
    """Yield what the configs of an image say that a layer unpacks to; several, if it occurs several times.

    Raises:
        IntegrityError, SourceError: a document could not be read.
    """
    for image in fetch_image(source).images:
        layers = image.manifest.layers or ()
        if any(one.digest == layer for one in layers):
            for one, diff_id in zip(layers, fetch_diff_ids(source, image.manifest), strict=True):
                if one.digest == layer:
                    yield diff_id


def _reuse_entry(place: LayerPlace, entry: Entry) -> LayerOutcome | None:
    """Check what an entry leads to, and take it over.

    Raises:
        IntegrityError, DamagedLayer: it does not lead to a zTOC of this layer, or to a copy of it.
        SourceError: the repository could not be read or written.
    """
    layer = place.planned.descriptor
    described = layer
    if (entry.copy is not None) != place.planned.is_recompressed:
        raise InvalidDocument(f"it has {'no' if entry.copy is None else 'a'} gzip copy")
    if entry.copy is not None:
        described = LayerCopy(of=layer.digest, digest=entry.copy.digest, size=entry.copy.size).describe(layer)
        if not _have_copy(place, described, entry):
            return None
        _check_unpacked(place, described)
    reused = _take_over(place, described, entry)
    if reused is None:
        return None
    return LayerOutcome(layer=layer.digest, ztoc=entry.ztoc, size=entry.size, copy=entry.copy, reused=reused)


def _take_over(place: LayerPlace, layer: Descriptor, entry: Entry) -> Reused | None:
    """Have the zTOC of an entry in this repository, if it is to be had and is right."""
    ztoc = Descriptor(media_type=media_types.ZTOC, digest=entry.ztoc, size=entry.size)
    if place.store.has_blob(ztoc):
        check_again(place.store, layer, fetch_ztoc(place.store, ztoc), place.settings)
        return Reused.HERE
    for source in _elsewhere(place, entry):
        try:
            data = fetch_ztoc(source, ztoc)
        except SourceError as error:
            if error.retryable:
                return None  # the registry has enough to do, and one repository to ask is enough
            continue  # it was deleted since, or is not ours to read
        check_again(place.store, layer, data, place.settings)
        if _mount(place.store, ztoc, source):
            return Reused.MOUNTED
        place.store.push_blob(ztoc, (data,))
        return Reused.COPIED
    return None


def _have_copy(place: LayerPlace, copy: Descriptor, entry: Entry) -> bool:
    """Tell whether a gzip copy is in this repository, or could be mounted. To stream it twice would spare little."""
    return place.store.has_blob(copy) or any(
        _mount(place.store, copy, source) for source in _elsewhere(place, entry)
    )


def _check_unpacked(place: LayerPlace, copy: Descriptor) -> None:
    """Check that a gzip copy unpacks to the layer: an image whose layer is another one would be another image."""
    tar_hash = hashlib.sha256()
    with place.store.open_blob(copy) as pieces:
        for chunk in decompress_layer(checked(copy, pieces)):
            tar_hash.update(chunk.data)
    found = Digest(algorithm="sha256", hex=tar_hash.hexdigest())
    for expected in fetch_diff_ids_of(place.store, place.planned.descriptor.digest):
        if found != expected:
            raise DigestMismatch(f"copy {copy.digest} unpacks to {found}, want {expected}")


def _elsewhere(place: LayerPlace, entry: Entry) -> Iterator[ImageSource]:
    return (place.open(one) for one in entry.repositories if one != place.repository)


def _mount(store: ImageStore, blob: Descriptor, source: ImageSource) -> bool:
    """Mount a blob, where both sides allow it; what they say if they do not is of no interest."""
    try:
        return isinstance(store, BlobMounter) and store.mount_blob(blob, source)
    except SourceError:
        return False
