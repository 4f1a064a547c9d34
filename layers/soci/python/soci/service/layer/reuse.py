"""The zTOCs that builders of this stack built, as a `KnownZtocs`: found by a table, taken from any repository.

    find        the catalog's entry for the layer and the settings
    here?       HEAD in the image's repository
    elsewhere?  fetched from a repository that the entry lists
    check       the zTOC's bytes, and three spans of the layer through it         soci.build.reuse
    take over   mounted by the registry, or written here

The entry is trusted: a builder of this stack read the whole layer and got a zTOC of this digest. The repositories are
not trusted, so a zTOC is checked before it gets into the image's repository. A bad entry costs one rebuild.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from soci.build.layer import RecompressedLayer, Reused
from soci.build.plan import PlannedLayer
from soci.build.reuse import KnownZtoc, check_again, reuse_key
from soci.errors import (
    DamagedLayer,
    DigestMismatch,
    IntegrityError,
    InvalidDocument,
    InvalidReference,
    SourceError,
)
from soci.image.documents import fetch_diff_ids_of
from soci.image.indexed import fetch_ztoc
from soci.layer.decompress import decompress_layer
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import checked
from soci.places.ports import BlobMounter, ImageOpener, ImageSource, ImageStore
from soci.service.layer.entry import Entry, ZtocCatalog
from soci.settings import IndexSettings
from soci.ztoc.model import IndexedLayer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogedZtocs:
    """A `KnownZtocs` for one image in one repository: what it finds lies in that repository afterwards."""

    catalog: ZtocCatalog
    settings: IndexSettings
    repository: str
    image: Digest
    """The root of the image that has the layers."""
    store: ImageStore
    """The repository, opened at the image."""
    open_image: ImageOpener

    def find(self, layer: PlannedLayer) -> KnownZtoc | None:
        """Take over the zTOC of a layer; None if it has to be built. A bad entry is logged in one line.

        Raises:
            SourceError: the repository could not be read or written.
        """
        key = reuse_key(layer, self.settings)
        try:
            entry = self.catalog.find(key)
            found = None if entry is None else self._take_over(layer, entry)
        except (IntegrityError, DamagedLayer) as error:
            _log.warning(
                "poisoned: the entry for the zTOC of %s is wrong, so it is built again: %s", key, error
            )
            return None
        if entry is not None and found is not None:
            self.catalog.also_in(key, entry, self.repository)
        return found

    def record(
        self, layer: PlannedLayer, indexed: IndexedLayer, recompressed: RecompressedLayer | None
    ) -> None:
        """Enter a zTOC that lies in the repository into the catalog."""
        entry = Entry(
            ztoc=indexed.digest,
            size=len(indexed.ztoc),
            repositories=(self.repository,),
            recompressed=recompressed,
        )
        self.catalog.record(reuse_key(layer, self.settings), entry)

    def _take_over(self, layer: PlannedLayer, entry: Entry) -> KnownZtoc | None:
        """Check what an entry leads to, and take it over.

        Raises:
            IntegrityError, DamagedLayer: it is no zTOC of this layer, or the recompressed layer is of another one.
            SourceError: the repository could not be read or written.
        """
        descriptor, recompressed = layer.descriptor, entry.recompressed
        if (recompressed is not None) != layer.is_recompressed:
            raise InvalidDocument(f"it has {'no' if recompressed is None else 'a'} recompressed layer")
        if recompressed is not None:
            descriptor = recompressed.describe(descriptor)
            if not self._has_recompressed(descriptor, entry):
                return None
            self._check_unpacked(descriptor, recompressed.of)
        return self._take_over_ztoc(descriptor, entry)

    def _take_over_ztoc(self, layer: Descriptor, entry: Entry) -> KnownZtoc | None:
        ztoc = Descriptor(media_type=media_types.ZTOC, digest=entry.ztoc, size=entry.size)
        if self.store.has_blob(ztoc):
            indexed = check_again(self.store, layer, fetch_ztoc(self.store, ztoc), self.settings)
            return KnownZtoc(indexed=indexed, reused=Reused.HERE, recompressed=entry.recompressed)
        for other in self._others(entry):
            try:
                data = fetch_ztoc(other, ztoc)
            except SourceError as error:
                if error.retryable:
                    return None  # the registry is busy; asking more repositories would make it worse
                continue  # the zTOC was deleted, or the repository is not ours to read
            indexed = check_again(self.store, layer, data, self.settings)
            reused = Reused.MOUNTED if self._mount(ztoc, other) else Reused.COPIED
            if reused is Reused.COPIED:
                self.store.push_blob(ztoc, (data,))
            return KnownZtoc(indexed=indexed, reused=reused, recompressed=entry.recompressed)
        return None

    def _has_recompressed(self, layer: Descriptor, entry: Entry) -> bool:
        """Tell whether a recompressed layer is here, or could be mounted. Copying it would save little."""
        return self.store.has_blob(layer) or any(self._mount(layer, other) for other in self._others(entry))

    def _check_unpacked(self, recompressed: Descriptor, of: Digest) -> None:
        """Check that a recompressed layer holds the tar of the zstd layer. Another tar would be another image."""
        tar_hash = hashlib.sha256()
        with self.store.open_blob(recompressed) as pieces:
            for chunk in decompress_layer(checked(recompressed, pieces)):
                tar_hash.update(chunk.data)
        found = Digest(algorithm="sha256", hex=tar_hash.hexdigest())
        for expected in fetch_diff_ids_of(self.store, of):
            if found != expected:
                raise DigestMismatch(
                    f"recompressed layer {recompressed.digest} unpacks to {found}, want {expected}"
                )

    def _others(self, entry: Entry) -> Iterator[ImageSource]:
        """Open the other repositories of an entry. Raises `InvalidDocument` for an impossible name."""
        for repository in entry.repositories:
            if repository != self.repository:
                try:
                    yield self.open_image(repository, str(self.image))
                except InvalidReference as error:
                    raise InvalidDocument(str(error)) from None

    def _mount(self, blob: Descriptor, source: ImageSource) -> bool:
        """Mount a blob if the registry allows it. A refusal is no error."""
        try:
            return isinstance(self.store, BlobMounter) and self.store.mount_blob(blob, source)
        except SourceError:
            return False
