"""What the manifests of a repository are and lead to, read once each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.index.convert import is_soci_index
from soci.inventory import Listed
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.ports import ImageOpener

_AT_A_TIME = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is known of all manifests that can be read."""

    children: Mapping[Digest, frozenset[Digest]]
    """What each image index lists."""
    enabled_indexes: tuple[Digest, ...]
    """Image indexes that list a SOCI index: SOCI-enabled images."""
    named_indexes: Mapping[Digest, Digest]
    """The SOCI index that an image manifest names, by manifest."""
    configs: Mapping[Digest, Digest]
    """The config of each image manifest."""
    unreadable: tuple[Digest, ...]
    """Image indexes and manifests that are archived, broken or gone since."""

    @property
    def configs_of_originals(self) -> frozenset[Digest]:
        """Return the configs of all images that name no index."""
        return frozenset(
            config for manifest, config in self.configs.items() if manifest not in self.named_indexes
        )


def read_contents(open_image: ImageOpener, repository: str, listed: Sequence[Listed]) -> Contents:
    """Read all image indexes and image manifests of a repository; artifacts of other types tell by the list.

    Raises:
        SourceError: the registry cannot be asked.
    """
    worth_reading = [one for one in listed if _may_lead_on(one)]

    def read(one: Listed) -> ImageIndex | ImageManifest | None:
        return None if one.is_archived else _read(open_image, repository, one)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        documents = list(zip(worth_reading, pool.map(read, worth_reading), strict=True))
    indexes = {one.digest: document for one, document in documents if isinstance(document, ImageIndex)}
    manifests = {one.digest: document for one, document in documents if isinstance(document, ImageManifest)}
    return Contents(
        children={
            digest: frozenset(entry.digest for entry in index.manifests or ())
            for digest, index in indexes.items()
        },
        enabled_indexes=tuple(
            digest for digest, index in indexes.items() if any(map(is_soci_index, index.manifests or ()))
        ),
        named_indexes=dict(_names(manifests)),
        configs={digest: manifest.config.digest for digest, manifest in manifests.items()},
        unreadable=tuple(one.digest for one, document in documents if document is None),
    )


def _may_lead_on(one: Listed) -> bool:
    is_artifact = one.artifact_type and not media_types.is_config(one.artifact_type)
    return media_types.is_index(one.media_type) or not is_artifact


def _read(open_image: ImageOpener, repository: str, one: Listed) -> ImageIndex | ImageManifest | None:
    source = open_image(repository, str(one.digest))
    try:
        root = source.fetch_root()
        data = source.fetch_manifest(root)
        what = f"manifest {one.digest}"
        return (
            ImageIndex.parse(data, what)
            if media_types.is_index(root.media_type)
            else ImageManifest.parse(data, what)
        )
    except (NotInImage, BlobMissing, IntegrityError):
        return None


def _names(manifests: Mapping[Digest, ImageManifest]) -> Iterator[tuple[Digest, Digest]]:
    for digest, manifest in manifests.items():
        named = manifest.annotations.get(SOCI_INDEX_DIGEST)
        if named:
            try:
                yield digest, Digest.parse(named)
            except IntegrityError:
                continue
