"""What the image indexes of a repository hold: their parts, and the images that have a SOCI-enabled image."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from soci.errors import MISSING_OR_CORRUPT
from soci.image.documents import Image, fetch_image
from soci.index.classify import LIMITS, has_own_index, is_converted
from soci.index.original import original_config
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex
from soci.places.ports import ImageOpener, ImageSource
from soci.places.registry.ecr_api import EcrApi

MAX_KNOWN_INDEXES = 20_000

Reader = Callable[[ImageSource], frozenset[Digest]]


class ImageIndexes:
    """Reads each image index once, and keeps what it has read for as long as the process lives."""

    def __init__(self, api: EcrApi, open_image: ImageOpener) -> None:
        self._api = api
        self._open_image = open_image
        self._parts: dict[Digest, frozenset[Digest]] = {}
        self._converted: dict[Digest, frozenset[Digest]] = {}

    def find_parts(self, repository: str, pool: Executor) -> frozenset[Digest]:
        """Return the manifests that the image indexes of a repository list."""
        return self._read_all(repository, pool, self._parts, listed_manifests)

    def find_converted(self, repository: str, pool: Executor) -> frozenset[Digest]:
        """Return the configs of the images that have a SOCI-enabled image in a repository, under any name or none."""
        return self._read_all(repository, pool, self._converted, converted_configs)

    def _read_all(
        self, repository: str, pool: Executor, known: dict[Digest, frozenset[Digest]], read: Reader
    ) -> frozenset[Digest]:
        indexes = self._list(repository)
        if len(known) > MAX_KNOWN_INDEXES:
            known.clear()
        unknown = [digest for digest in indexes if digest not in known]
        found = pool.map(lambda digest: read(self._open_image(repository, str(digest))), unknown)
        known.update(zip(unknown, found, strict=True))
        return frozenset[Digest]().union(*(known[digest] for digest in indexes))

    def _list(self, repository: str) -> list[Digest]:
        images = self._api.fetch_all_images(repository, only_tagged=False)
        return [one.digest for one in images if media_types.is_index(one.media_type)]


def listed_manifests(source: ImageSource) -> frozenset[Digest]:
    """Return the manifests that an image index lists; none if it is missing or corrupt. Raises `SourceError`."""
    try:
        entries = _fetch_index(source, source.fetch_root()).manifests or ()
    except MISSING_OR_CORRUPT:
        return frozenset()
    return frozenset(entry.digest for entry in entries)


def converted_configs(source: ImageSource) -> frozenset[Digest]:
    """Return the configs of a SOCI-enabled image.

    None if an image index is not SOCI-enabled, or is missing or corrupt. Raises `SourceError` when it cannot be read.
    """
    try:
        root = source.fetch_root()
        if not is_converted(Image(root=root, index=_fetch_index(source, root), images=())):
            return frozenset()  # conversion annotates the entries too, so no manifest need be fetched
        image = fetch_image(source, root, limits=LIMITS)
        return config_digests(image) if has_own_index(image, source) else frozenset()
    except MISSING_OR_CORRUPT:
        return frozenset()


def config_digests(image: Image) -> frozenset[Digest]:
    """Return the digests of the original's configs. They identify an image whose manifests have changed."""
    return frozenset(original_config(one.manifest) for one in image.images)


def _fetch_index(source: ImageSource, root: Descriptor) -> ImageIndex:
    return ImageIndex.parse(source.fetch_manifest(root), f"index {root.digest}")
