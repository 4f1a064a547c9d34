"""Which indexes an image has, found as a lazy reader finds them. Nothing of a layer and no zTOC is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from soci.errors import BlobMissing, IntegrityError, InvalidDocument, NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, choose_images, fetch_image
from soci.image.indexed import find_soci_index, ztocs_of
from soci.index.classify import is_soci_enabled
from soci.oci import media_types
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource
from soci.service.filter.decide import SourceOpener
from soci.service.filter.up_to_date import is_same_content
from soci.settings import IndexVersion

FindReferrer = Callable[[ImageSource, Digest], Digest | None]
"""Finds the index of version 1 of an image manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """The indexes of one platform's image."""

    image: PlatformImage
    versions: frozenset[IndexVersion]
    layers_indexed: frozenset[Digest]
    """By the index that a reader takes: that of version 2, if there is one."""
    problem: str = ""
    """Why an index that the image names cannot be used; it then counts for nothing."""

    @property
    def config(self) -> Digest:
        """What tells the image from another one, whatever was done to its documents."""
        return self.image.manifest.config.digest

    @property
    def platform(self) -> Platform:
        """Under its usual names."""
        return self.image.platform.normalized()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedImage:
    """A SOCI-enabled image that is not its original."""

    tag: str | None
    """None: it has its digest alone."""
    digest: Digest
    platforms: tuple[PlatformFacts, ...]

    def is_of(self, image: Image) -> bool:
        """Tell whether it was made of this image: the same config and layers for each platform."""
        return all(
            any(is_same_content(one.manifest, two.image.manifest) for two in self.platforms)
            for one in _platforms_of(image)
        )

    @property
    def problem(self) -> str:
        """Why an index that it names cannot be used."""
        return next((one.problem for one in self.platforms if one.problem), "")


def ask_referrers(source: ImageSource, image: Digest) -> Digest | None:
    """Ask a place for the index of version 1 that a reader takes: the first. Raises `SourceError`."""
    if not isinstance(source, ReferrerSource):
        return None
    found = source.fetch_referrers(image, media_types.SOCI_INDEX_V1)
    return found[0].digest if found else None


def no_referrers(source: ImageSource, image: Digest) -> Digest | None:  # noqa: ARG001 - a `FindReferrer`
    """Look for version 2 alone."""
    return None


def find_platforms(
    source: ImageSource, image: Image, find_referrer: FindReferrer = ask_referrers
) -> tuple[PlatformFacts, ...]:
    """Look for the indexes of each platform of an image. Raises `SourceError` when the place cannot be asked."""
    return tuple(_look_at(source, image, one, find_referrer) for one in _platforms_of(image))


def find_converted(open_image: SourceOpener, repository: str, reference: str) -> ConvertedImage | None:
    """Look for a SOCI-enabled image under a tag or a digest; None when there is none."""
    source = open_image(repository, reference)
    try:
        image = fetch_image(source)
    except (NotInImage, BlobMissing, IntegrityError):
        return None
    if not is_soci_enabled(image):
        return None
    return ConvertedImage(
        tag=None if ":" in reference else reference,
        digest=image.root.digest,
        platforms=find_platforms(source, image, no_referrers),
    )


def _platforms_of(image: Image) -> tuple[PlatformImage, ...]:
    try:
        return choose_images(image, Platforms.ALL)
    except NotInImage:
        return ()


def _look_at(
    source: ImageSource, image: Image, one: PlatformImage, find_referrer: FindReferrer
) -> PlatformFacts:
    versions: set[IndexVersion] = set()
    layers: frozenset[Digest] = frozenset()
    problem = ""
    referrer = find_referrer(source, one.descriptor.digest)
    if referrer is not None and isinstance(source, DescriptorSource):
        with suppress(BlobMissing, IntegrityError):
            layers = _layers_of(source, source.fetch_descriptor(referrer), media_types.SOCI_INDEX_V1)
            versions.add(IndexVersion.V1)
    if SOCI_INDEX_DIGEST in one.manifest.annotations:
        try:
            named = find_soci_index(source, image, one)
            layers = _layers_of(source, named, media_types.SOCI_INDEX_V2) if named else frozenset()
            versions.add(IndexVersion.V2)
        except (BlobMissing, IntegrityError) as error:
            problem = str(error)
    of_image = {layer.digest for layer in one.manifest.layers or ()}
    return PlatformFacts(
        image=one, versions=frozenset(versions), layers_indexed=layers & of_image, problem=problem
    )


def _layers_of(source: ImageSource, index: Descriptor, config_type: str) -> frozenset[Digest]:
    """Return the layers that a SOCI index has zTOCs for. Raises what says that it cannot be used."""
    what = f"SOCI index {index.digest}"
    manifest = ImageManifest.parse(source.fetch_manifest(index), what)
    if manifest.config.media_type != config_type:
        raise InvalidDocument(f"{what}: config media type is {manifest.config.media_type[:100]!r}")
    return frozenset(ztocs_of(manifest))
