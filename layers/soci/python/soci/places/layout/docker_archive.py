"""Docker archives: a manifest.json, configs and layers in a tar file, as `docker save` and skopeo write them.

Since version 25, Docker writes an OCI layout with a manifest.json beside it. Such an archive is read as a layout.
The older form has no image manifest, so one is generated. It depends only on the config and the layers, so the same
image always gets the same manifest:

    config   the config file, application/vnd.oci.image.config.v1+json
    layer    plain tar: application/vnd.oci.image.layer.v1.tar, its digest is the diff_id in the config
             gzip or zstd: that type with +gzip or +zstd, its digest is computed
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from soci.errors import InvalidDocument, InvalidReference, NotInImage, SourceError
from soci.oci import gojson, media_types
from soci.oci.compression import Compression, detect_compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.fields import Fields
from soci.oci.image_config import CONFIG_LIMIT_BYTES, ImageConfig
from soci.oci.manifest import MANIFEST_LIMIT_BYTES, ImageManifest
from soci.oci.reference import full_image_name
from soci.places.layout.extents import Extent, ExtentSource
from soci.places.layout.index_json import INDEX_JSON
from soci.places.layout.layout_source import OCI_LAYOUT
from soci.places.layout.oci_archive import OciArchive
from soci.places.layout.tar_members import TarMembers

MANIFEST_JSON = "manifest.json"


def open_docker_archive(path: Path, tag: str | None = None) -> OciArchive | DockerArchive:
    """Open an archive of either form. `tag` is an image name (`app:1.0`), or None for the only image."""
    members = TarMembers(path)
    if members.find(OCI_LAYOUT) and members.find(INDEX_JSON):
        return OciArchive(path, tag=tag, members=members)
    return DockerArchive(path, tag=tag, members=members)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SavedImage:
    """One item of manifest.json: the archive members of an image, and its names."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    descriptor: Descriptor
    manifest: bytes
    blobs: dict[Digest, Extent]


class DockerArchive(ExtentSource):
    """An `ImageSource` over an archive of the older form. Any method may raise `NotInImage` for the tag."""

    def __init__(self, path: Path, *, tag: str | None, members: TarMembers) -> None:
        self.path = path
        self._tag = tag
        self._members = members

    def __str__(self) -> str:
        return str(self.path)

    def fetch_root(self) -> Descriptor:
        """Describe the generated manifest."""
        return self._image.descriptor

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """Return the generated manifest, or the config. See `ports.ImageSource`."""
        if descriptor.digest == self._image.descriptor.digest:
            return self._image.manifest
        return super().fetch_manifest(descriptor)

    def _find(self, digest: Digest) -> Extent | None:
        return self._image.blobs.get(digest)

    @cached_property
    def _image(self) -> _Image:
        saved = self._choose(self._fetch_saved_images())
        config_extent = self._member(saved.config)
        config_data = config_extent.fetch(0, CONFIG_LIMIT_BYTES + 1)
        config = ImageConfig.parse(config_data, f"{self}: {saved.config}")
        if len(config.diff_ids) != len(saved.layers):
            raise InvalidDocument(
                f"{self}: {len(saved.layers)} layers in {MANIFEST_JSON}, "
                f"{len(config.diff_ids)} diff_ids in {saved.config}"
            )
        layer_extents = [self._member(name) for name in saved.layers]
        layers = [_describe_layer(*layer) for layer in zip(layer_extents, config.diff_ids, strict=True)]
        config_descriptor = Descriptor(
            media_type=media_types.OCI_CONFIG, digest=digest_of(config_data), size=config_extent.size
        )
        manifest = ImageManifest(config=config_descriptor, layers=tuple(layers)).encode()
        described = [config_descriptor, *layers]
        return _Image(
            descriptor=Descriptor(
                media_type=media_types.OCI_MANIFEST, digest=digest_of(manifest), size=len(manifest)
            ),
            manifest=manifest,
            blobs={d.digest: e for d, e in zip(described, [config_extent, *layer_extents], strict=True)},
        )

    def _fetch_saved_images(self) -> list[_SavedImage]:
        what = f"{self}: {MANIFEST_JSON}"
        data = self._member(MANIFEST_JSON).fetch(0, MANIFEST_LIMIT_BYTES + 1)
        items = gojson.decode(data, what, limit_bytes=MANIFEST_LIMIT_BYTES)
        if not isinstance(items, list):
            raise InvalidDocument(f"{what}: expected a list of images")
        return [_parse_saved_image(Fields(item, what, f"[{i}]")) for i, item in enumerate(items)]

    def _choose(self, images: list[_SavedImage]) -> _SavedImage:
        wanted = None if self._tag is None else full_image_name(self._tag)
        chosen = [image for image in images if wanted is None or wanted in map(_full_name, image.names)]
        if len(chosen) == 1:
            return chosen[0]
        names = ", ".join(sorted(name for image in images for name in image.names)[:20]) or "none"
        what = "one image" if wanted is None else f"one image {wanted}"
        raise NotInImage(f"{self}: expected {what}, found {len(chosen) or 'none'}; names: {names}")

    def _member(self, name: str) -> Extent:
        extent = self._members.find(name)
        if extent is None:
            raise SourceError(f"{self}: not a complete Docker archive, it has no file {name[:200]}")
        return extent


def _parse_saved_image(fields: Fields) -> _SavedImage:
    return _SavedImage(
        config=fields.string("Config"), layers=fields.strings("Layers"), names=fields.strings("RepoTags")
    )


def _full_name(name: str) -> str:
    try:
        return full_image_name(name)
    except InvalidReference:
        return name


def _describe_layer(extent: Extent, diff_id: Digest) -> Descriptor:
    compression = detect_compression(extent.fetch(0, 4))
    # A plain layer is not hashed here: the caller checks its digest when it streams the layer.
    digest = diff_id if compression is Compression.UNCOMPRESSED else _fetch_digest(extent)
    return Descriptor(media_type=media_types.LAYER_TYPES[compression], digest=digest, size=extent.size)


def _fetch_digest(extent: Extent) -> Digest:
    # The archive has only the diff_id, the digest of the decompressed bytes. So a compressed layer costs one more
    # read. Docker itself writes no compressed layers.
    content_hash = hashlib.sha256()
    with extent.open_chunks() as chunks:
        for chunk in chunks:
            content_hash.update(chunk)
    return Digest(algorithm="sha256", hex=content_hash.hexdigest())
