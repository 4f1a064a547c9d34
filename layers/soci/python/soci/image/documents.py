"""The documents of an image: its root, and the image manifest of each platform."""

from __future__ import annotations

import platform as machine
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.oci import media_types
from soci.oci.annotations import DOCKER_REFERENCE_TYPE
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.image_config import ImageConfig
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.oci.platform import Platform
from soci.places.ports import ImageSource


class Platforms(Enum):
    """Which platforms to take when none is named."""

    ALL = "all"
    HOST = "host"
    """The platform of this machine, as in the owner's tool. All platforms if the image lacks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """The image of one platform."""

    platform: Platform
    descriptor: Descriptor
    manifest: ImageManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that a reference names: one image manifest, or an index of images and other entries."""

    root: Descriptor
    index: ImageIndex | None
    """None for a single image."""
    images: tuple[PlatformImage, ...]
    """The image manifests that could be fetched, in the index's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that is fetched of an image."""

    manifests: int
    """Entries of an index that may be images. Each is counted."""
    size_bytes: int
    """The sum of their manifests, each content once."""


class TooManyManifests(InvalidDocument):
    """An index lists more than the limits allow. None of its manifests was fetched."""


def fetch_image(
    source: ImageSource, root: Descriptor | None = None, *, limits: Limits | None = None
) -> Image:
    """Fetch the root and all image manifests. If `root` is given, it is not looked up.

    Attestations, SOCI indexes and other artifacts are skipped, and so are entries whose manifest is missing, as in a
    partial copy of an image.

    Raises:
        InvalidDocument, DigestMismatch, SizeMismatch: a document does not match its descriptor.
        TooManyManifests: the index lists more than the limits allow.
        SourceError: the source cannot be read.
    """
    root = root or source.fetch_root()
    data = source.fetch_manifest(root)
    if not media_types.is_index(root.media_type):
        manifest = ImageManifest.parse(data, f"manifest {root.digest}")
        _require_image(manifest, root)
        single = PlatformImage(platform=_fetch_platform(source, manifest), descriptor=root, manifest=manifest)
        return Image(root=root, index=None, images=(single,))
    index = ImageIndex.parse(data, f"index {root.digest}")
    entries = [entry for entry in index.manifests or () if _may_be_image(entry)]
    if limits:
        _check_limits(root, entries, limits)
    images: list[PlatformImage] = []
    parsed: dict[tuple[Digest, int], ImageManifest | None] = {}
    for entry in entries:
        content = entry.digest, entry.size
        if content not in parsed:  # a hostile index may list one large manifest ten thousand times
            parsed[content] = _fetch_if_there(source, entry)
        found = parsed[content]
        if found is not None and _is_image(found):
            platform = entry.platform or _fetch_platform(source, found)
            images.append(PlatformImage(platform=platform, descriptor=entry, manifest=found))
    return Image(root=root, index=index, images=tuple(images))


def fetch_diff_ids(source: ImageSource, manifest: ImageManifest) -> tuple[Digest, ...]:
    """Return the digests of the tars in an image's layers, as its config lists them.

    Raises:
        InvalidDocument: the config lists another number of layers.
        SourceError: the config could not be read.
    """
    what = f"config {manifest.config.digest}"
    diff_ids = ImageConfig.parse(source.fetch_manifest(manifest.config), what).diff_ids
    if len(diff_ids) != len(layers := manifest.layers or ()):
        raise InvalidDocument(f"{what}: {len(diff_ids)} diff_ids for {len(layers)} layers")
    return diff_ids


def fetch_diff_ids_of(source: ImageSource, layer: Digest) -> Iterator[Digest]:
    """Yield the digest of the tar in a layer, once per occurrence of the layer in the source's image.

    Raises:
        IntegrityError, SourceError: a document could not be read.
    """
    for image in fetch_image(source).images:
        layers = image.manifest.layers or ()
        if any(one.digest == layer for one in layers):
            for one, diff_id in zip(layers, fetch_diff_ids(source, image.manifest), strict=True):
                if one.digest == layer:
                    yield diff_id


def _check_limits(root: Descriptor, entries: Sequence[Descriptor], limits: Limits) -> None:
    size_bytes = sum(size for _, size in {(entry.digest, entry.size) for entry in entries})
    if len(entries) > limits.manifests or size_bytes > limits.size_bytes:
        raise TooManyManifests(
            f"index {root.digest}: {len(entries)} image manifests of {size_bytes} bytes,"
            f" at most {limits.manifests} of {limits.size_bytes} are fetched"
        )


def _fetch_if_there(source: ImageSource, entry: Descriptor) -> ImageManifest | None:
    try:
        data = source.fetch_manifest(entry)
    except BlobMissing:
        return None
    return ImageManifest.parse(data, f"manifest {entry.digest}")


def choose_images(image: Image, wanted: Sequence[Platform] | Platforms) -> tuple[PlatformImage, ...]:
    """Return the images for the wanted platforms, in the order asked for, each once.

    The `platform` of a result is the one asked for. If none was named, it is the one that the image names.

    Raises:
        NotInImage: the image lacks a platform; the message lists the platforms that it has.
    """
    if isinstance(wanted, Platforms):
        host = host_platform()
        matching = [one for one in image.images if one.platform.matches(host)]
        chosen = matching[:1] if wanted is Platforms.HOST and matching else _first_of_each(image.images)
        if not chosen:
            raise NotInImage(f"image {image.root.digest} holds no image manifest that can be fetched")
        return tuple(chosen)
    chosen = []
    for platform in wanted:
        found = next((one for one in image.images if one.platform.matches(platform)), None)
        if found is None:
            there = ", ".join(str(one.platform) for one in image.images) or "none"
            raise NotInImage(f"image {image.root.digest} has no platform {platform}; it has {there}")
        chosen.append(PlatformImage(platform=platform, descriptor=found.descriptor, manifest=found.manifest))
    return tuple(_first_of_each(chosen))


def host_platform() -> Platform:
    """Return the platform of containers on this machine."""
    return Platform(os="linux", architecture=machine.machine()).normalized()


def _first_of_each(images: Sequence[PlatformImage]) -> list[PlatformImage]:
    found: dict[Digest | tuple[str, str, str], PlatformImage] = {}
    for one in images:
        normal = one.platform.normalized()
        found.setdefault((normal.os, normal.architecture, normal.variant), one)
    return list(found.values())


def _may_be_image(entry: Descriptor) -> bool:
    return (
        media_types.is_manifest(entry.media_type)
        and not entry.artifact_type
        and DOCKER_REFERENCE_TYPE not in entry.annotations
        and not (entry.platform and entry.platform.is_unknown)
    )


def _is_image(manifest: ImageManifest) -> bool:
    return not manifest.artifact_type and media_types.is_config(manifest.config.media_type)


def _require_image(manifest: ImageManifest, root: Descriptor) -> None:
    if not _is_image(manifest):
        kind = manifest.artifact_type or manifest.config.media_type
        raise InvalidDocument(f"{root.digest} is no container image: its manifest is of the type {kind!r}")


def _fetch_platform(source: ImageSource, manifest: ImageManifest) -> Platform:
    config = source.fetch_manifest(manifest.config)
    return ImageConfig.parse(config, f"config {manifest.config.digest}").platform.normalized()
