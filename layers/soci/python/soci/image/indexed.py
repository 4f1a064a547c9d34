"""An image with its SOCI index and its layers' zTOCs, found as a lazy reader finds them.

    image manifest ─┬─ annotation index-digest (version 2) ──┐
                    └─ referrers of the manifest (version 1) ┴─> SOCI index ─ image-layer-digest ─> zTOCs

See docs/formats.md, "What the snapshotter accepts". Nothing of a layer is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from soci.errors import BlobMissing, InvalidDocument, InvalidZtoc, NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, choose_images, fetch_image
from soci.layer.gzip_header import MAX_BYTES as MAX_HEADER_BYTES
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST, SOCI_INDEX_DIGEST, SOCI_SPAN_SIZE
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import check_content
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource
from soci.ztoc.extract import SpanReader
from soci.ztoc.model import MAX_ZTOC_BYTES, CompressionInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer of an image and its zTOC, if it has one."""

    descriptor: Descriptor
    ztoc: Descriptor | None
    prefetch: Descriptor | None = None
    """The artifact that says which of its spans a reader fetches before the container starts."""

    @property
    def span_size_bytes(self) -> int | None:
        """The span size that the SOCI index gives. Older indexes give none."""
        text = self.ztoc.annotations.get(SOCI_SPAN_SIZE, "") if self.ztoc else ""
        return int(text) if text.isdecimal() and text.isascii() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedImage:
    """One platform's image with its SOCI index, if it has one. Layers are listed from the bottom up."""

    image: PlatformImage
    soci_index: Descriptor | None
    layers: tuple[ImageLayer, ...]


def open_image(source: ImageSource, platform: Platform | None = None) -> IndexedImage:
    """Find an image, its SOCI index and its layers' zTOCs.

    The default platform is that of this machine, or the only one of the image.

    Raises:
        NotInImage: the image lacks the platform, or has several and none is that of this machine.
        IntegrityError, SourceError: a document is missing or corrupt.
    """
    image = fetch_image(source)
    chosen = choose_images(image, Platforms.HOST if platform is None else [platform])
    if len(chosen) > 1:
        there = ", ".join(str(one.platform) for one in chosen)
        raise NotInImage(f"image {image.root.digest} has several platforms, choose one of them: {there}")
    soci_index = find_soci_index(source, image, chosen[0])
    manifest = None if soci_index is None else _fetch_soci_index(source, soci_index)
    ztocs = {} if manifest is None else ztocs_of(manifest)
    prefetches = {} if manifest is None else prefetches_of(manifest)
    layers = (
        ImageLayer(descriptor=layer, ztoc=ztocs.get(layer.digest), prefetch=prefetches.get(str(layer.digest)))
        for layer in chosen[0].manifest.layers or ()
    )
    return IndexedImage(image=chosen[0], soci_index=soci_index, layers=tuple(layers))


def find_soci_index(source: ImageSource, image: Image, one: PlatformImage) -> Descriptor | None:
    """Describe the SOCI index of an image: the one that its manifest names, else the first that refers to it.

    Raises:
        BlobMissing: the manifest names an index that is missing.
        InvalidDocument: the name is no digest.
    """
    named = one.manifest.annotations.get(SOCI_INDEX_DIGEST)
    if named:
        return _describe(source, image, Digest.parse(named))
    if isinstance(source, ReferrerSource):
        return next(iter(source.fetch_referrers(one.descriptor.digest, media_types.SOCI_INDEX_V1)), None)
    return None


def ztocs_of(soci_index: ImageManifest) -> Mapping[Digest, Descriptor]:
    """Return the zTOCs of a SOCI index by layer. If a layer has several, the last one counts.

    Raises:
        InvalidDocument: a layer's digest is missing or malformed.
    """
    listed = (entry for entry in soci_index.layers or () if entry.media_type == media_types.ZTOC)
    return {Digest.parse(entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, "")): entry for entry in listed}


def prefetches_of(soci_index: ImageManifest) -> Mapping[str, Descriptor]:
    """Return the prefetch artifacts of a SOCI index by layer. If a layer has several, the first one counts.

    One that names no layer is left out, as a reader does: nothing depends on it.
    """
    listed = [entry for entry in soci_index.layers or () if entry.media_type == media_types.PREFETCH]
    return {entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, ""): entry for entry in reversed(listed)}


def fetch_ztoc(source: ImageSource, ztoc: Descriptor) -> bytes:
    """Return a zTOC's bytes, checked against its descriptor.

    Raises:
        InvalidZtoc: the zTOC is larger than any zTOC can be.
        SourceError, DigestMismatch, SizeMismatch: the zTOC is missing, or does not match its descriptor.
    """
    if ztoc.size > MAX_ZTOC_BYTES:
        raise InvalidZtoc(f"zTOC {ztoc.digest} has {ztoc.size} bytes, the limit is {MAX_ZTOC_BYTES}")
    data = source.fetch_range(ztoc, 0, ztoc.size)
    check_content(ztoc, data)
    return data


def fetch_head(source: ImageSource, layer: Descriptor) -> bytes:
    """Return the start of a layer, which holds any gzip header. Raises `SourceError`."""
    return source.fetch_range(layer, 0, min(MAX_HEADER_BYTES, layer.size))


def open_spans(source: ImageSource, layer: Descriptor, info: CompressionInfo) -> SpanReader:
    """Return a reader of a layer's spans, which fetches them by range."""
    return SpanReader(
        info, lambda start, end: source.fetch_range(layer, start, end), name=f"layer {layer.digest}"
    )


def _describe(source: ImageSource, image: Image, digest: Digest) -> Descriptor:
    """Complete a digest: the image index lists the SOCI index, unless a single manifest was opened."""
    for entry in (image.index.manifests if image.index else None) or ():
        if entry.digest == digest:
            return entry
    if isinstance(source, DescriptorSource):
        return source.fetch_descriptor(digest)
    raise BlobMissing(f"SOCI index {digest} is not listed in image {image.root.digest}")


def _fetch_soci_index(source: ImageSource, descriptor: Descriptor) -> ImageManifest:
    what = f"SOCI index {descriptor.digest}"
    manifest = ImageManifest.parse(source.fetch_manifest(descriptor), what)
    if not media_types.is_soci_config(manifest.config.media_type):
        raise InvalidDocument(f"{what}: config media type is {manifest.config.media_type[:100]!r}")
    return manifest
