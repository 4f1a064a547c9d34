"""Find the indexes of an image as a lazy reader does. Reads documents only, no layer and no zTOC."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from soci.errors import MISSING_OR_CORRUPT, BlobMissing, IntegrityError, InvalidDocument, NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, choose_images, fetch_image
from soci.image.indexed import find_soci_index, ztocs_of
from soci.index.classify import is_converted
from soci.index.original import original_config
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource, SourceOpener
from soci.service.filter.conversion import is_same_content
from soci.settings import IndexVersion

IndexV1Finder = Callable[[ImageSource, Digest], Digest | None]
"""Finds the version 1 index of an image manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """The indexes of one platform's image."""

    image: PlatformImage
    versions: frozenset[IndexVersion]
    layers_indexed: frozenset[Digest]
    """Layers with a zTOC in the index that a reader takes: version 2, if there is one."""
    problem: str = ""
    """Why the index that the image names cannot be used; such an index does not count."""

    @property
    def config(self) -> Digest:
        """The digest of the original's config. It identifies the image."""
        return original_config(self.image.manifest)

    @property
    def platform(self) -> Platform:
        """With normalized names."""
        return self.image.platform.normalized()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedImage:
    """A SOCI-enabled image beside its original."""

    tag: str | None
    """None if only its digest leads to it."""
    digest: Digest
    platforms: tuple[PlatformFacts, ...]

    def is_of(self, image: Image) -> bool:
        """Tell whether it was made from this image: each platform has the same config and layers."""
        return all(
            any(is_same_content(one.manifest, other.image.manifest) for other in self.platforms)
            for one in _platforms_of(image)
        )

    @property
    def problem(self) -> str:
        """Why an index that it names cannot be used."""
        return next((one.problem for one in self.platforms if one.problem), "")


def fetch_index_v1(source: ImageSource, image: Digest) -> Digest | None:
    """Ask for the version 1 index that a reader takes: the first. Raises `SourceError`."""
    if not isinstance(source, ReferrerSource):
        return None
    found = source.fetch_referrers(image, media_types.SOCI_INDEX_V1)
    return found[0].digest if found else None


def no_index_v1(source: ImageSource, image: Digest) -> Digest | None:  # noqa: ARG001 - an `IndexV1Finder`
    """Find nothing: only version 2 matters."""
    return None


def find_platforms(
    source: ImageSource, image: Image, find_index_v1: IndexV1Finder = fetch_index_v1
) -> tuple[PlatformFacts, ...]:
    """Find the indexes of each platform of an image. Raises `SourceError` if the source cannot be read."""
    return tuple(_find_platform(source, image, one, find_index_v1) for one in _platforms_of(image))


def find_converted(open_image: SourceOpener, repository: str, reference: str) -> ConvertedImage | None:
    """Return the SOCI-enabled image under a tag or a digest; None if there is none."""
    source = open_image(repository, reference)
    try:
        image = fetch_image(source)
    except MISSING_OR_CORRUPT:
        return None
    if not is_converted(image):
        return None
    return ConvertedImage(
        tag=None if ":" in reference else reference,
        digest=image.root.digest,
        platforms=find_platforms(source, image, no_index_v1),
    )


def _platforms_of(image: Image) -> tuple[PlatformImage, ...]:
    try:
        return choose_images(image, Platforms.ALL)
    except NotInImage:
        return ()


def _find_platform(
    source: ImageSource, image: Image, one: PlatformImage, find_index_v1: IndexV1Finder
) -> PlatformFacts:
    versions: set[IndexVersion] = set()
    layers: frozenset[Digest] = frozenset()
    problem = ""
    index_v1 = find_index_v1(source, one.descriptor.digest)
    if index_v1 is not None and isinstance(source, DescriptorSource):
        with suppress(BlobMissing, IntegrityError):
            layers = _fetch_layers(source, source.fetch_descriptor(index_v1), media_types.SOCI_INDEX_V1)
            versions.add(IndexVersion.V1)
    if SOCI_INDEX_DIGEST in one.manifest.annotations:
        try:
            index_v2 = find_soci_index(source, image, one)
            layers = _fetch_layers(source, index_v2, media_types.SOCI_INDEX_V2) if index_v2 else frozenset()
            versions.add(IndexVersion.V2)
        except (BlobMissing, IntegrityError) as error:
            problem = str(error)
    return PlatformFacts(image=one, versions=frozenset(versions), layers_indexed=layers, problem=problem)


def _fetch_layers(source: ImageSource, index: Descriptor, config_type: str) -> frozenset[Digest]:
    """Return the layers that a SOCI index has zTOCs for.

    Raises:
        BlobMissing, IntegrityError: the index cannot be used.
    """
    what = f"SOCI index {index.digest}"
    manifest = ImageManifest.parse(source.fetch_manifest(index), what)
    if manifest.config.media_type != config_type:
        raise InvalidDocument(f"{what}: config media type is {manifest.config.media_type[:100]!r}")
    return frozenset(ztocs_of(manifest))
