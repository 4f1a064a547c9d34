"""zTOCs that were made before: the key to find one by, and what has to hold before it is used again.

A zTOC depends on its layer and a few settings alone, so it need not be made twice. Before one is used again it has to
pass what the settings ask for, the lazy reader's rules, and a look at the layer itself: three spans are fetched by
range, hashed and inflated through it. The layer as a whole is not read; that is the point. So this finds mistakes, and
a zTOC of another layer mostly, but no file table or span that somebody changed with care: it takes a place that only a
builder writes to, or one whose entries prove that a builder wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from soci.build.plan import PlannedLayer
from soci.errors import IntegrityError, InvalidZtoc
from soci.layer.gzip_header import MAX_BYTES as MAX_HEADER_BYTES
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest, digest_of
from soci.oci.media_types import compression_of
from soci.places.ports import ImageSource
from soci.settings import IndexSettings
from soci.ztoc.checks import check_ztoc
from soci.ztoc.decode import (
    decode_build_tool,
    decode_compression_info,
    decode_needs_xattrs,
    scan_files,
)
from soci.ztoc.extract import SpanReader
from soci.ztoc.model import CompressionInfo, IndexedLayer

OUTPUT_VERSION = 1
"""Goes up when this package makes other bytes of the same layer and settings: what was made before is made anew."""

GOLDEN_OUTPUT = (1, "ef387faf367c8c56aac509028bcfb5db84abef464764d5ef3fcd32c808e549b0")
"""An output version, and a hash over all zTOCs that it makes of the golden layers: the tests hold one to the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseKey:
    """What decides the bytes of a zTOC: the layer, and all else as readable text of less than 1 KiB."""

    layer: Digest
    settings: str

    def __str__(self) -> str:
        return f"layer {self.layer} ({self.settings})"


class ZtocCache(Protocol):
    """A place that keeps zTOCs by their keys, and nobody else writes to. It may forget; what it gives is checked."""

    def find(self, key: ReuseKey) -> bytes | None:
        """Return what was kept; None when that is nothing, or damaged."""

    def keep(self, key: ReuseKey, ztoc: bytes | bytearray) -> None:
        """Keep a zTOC from now on. Raises `StorageError`."""


def reuse_key(layer: PlannedLayer, settings: IndexSettings) -> ReuseKey:
    """Return the key of the zTOC that a layer gets; of one that is to be recompressed, of its copy's."""
    parts = [f"output={OUTPUT_VERSION}"]
    if layer.is_recompressed:
        parts.append(f"zstd gzip-level={settings.gzip_level}")
    elif layer.decision is Compression.GZIP:
        parts.append(f"gzip multi-member={settings.multi_member}")
    else:
        parts.append("plain")
    parts += (
        f"span={settings.span_size_bytes}",
        f"optimizations={','.join(sorted(settings.optimizations))}",
        f"tool={settings.build_tool_identifier}",
    )
    return ReuseKey(layer=layer.descriptor.digest, settings=" ".join(parts))


def recall(
    cache: ZtocCache, key: ReuseKey, source: ImageSource, layer: Descriptor, settings: IndexSettings
) -> IndexedLayer | None:
    """Return a layer's zTOC out of a cache if it can be used; None when it has to be made.

    Raises:
        SourceError: the layer could not be read.
    """
    data = cache.find(key)
    if data is None:
        return None
    try:
        info = check_again(source, layer, data, settings)
        return _restored(layer, data, info)
    except IntegrityError:
        return None  # if it is the layer that is wrong, reading the whole of it will tell


def check_again(
    source: ImageSource, layer: Descriptor, data: bytes, settings: IndexSettings
) -> CompressionInfo:
    """Check that a zTOC is of this layer and these settings, and read the first, middle and last span through it.

    Raises:
        InvalidZtoc, DigestMismatch, SizeMismatch: it is not, or the layer is not what its digest says.
        SourceError: the layer could not be read.
    """
    info = check_as_made(source, layer, data, settings)
    last = len(info.spans) - 1
    read_spans(source, layer, info, sorted({0, len(info.spans) // 2, last}) if info.spans else ())
    return info


def check_as_made(
    source: ImageSource, layer: Descriptor, data: bytes, settings: IndexSettings
) -> CompressionInfo:
    """Check that a zTOC is what the settings make of a layer of this size, and that a lazy reader takes it.

    Raises:
        InvalidZtoc: it is not.
        SourceError: the layer's beginning could not be read.
    """
    head = source.fetch_range(layer, 0, min(MAX_HEADER_BYTES, layer.size))
    info = decode_compression_info(data)
    facts = (
        ("compression", info.algorithm, compression_of(layer.media_type)),
        ("bytes of layer", info.spans[-1].end if info.spans else 0, layer.size),
        ("span size in bytes", info.span_size_bytes, settings.span_size_bytes),
        ("build tool", decode_build_tool(data), settings.build_tool_identifier),
    )
    for what, got, want in facts:
        if got != want:
            raise InvalidZtoc(f"{what}: it has {got}, want {want}")
    left_out = check_ztoc(data, head=head)
    if left_out is not None:
        raise InvalidZtoc(f"a lazy reader refuses it: {left_out}")
    return info


def read_spans(source: ImageSource, layer: Descriptor, info: CompressionInfo, numbers: Iterable[int]) -> None:
    """Read some spans as a lazy reader does: by range, hashed, inflated.

    Raises:
        InvalidZtoc, DigestMismatch, SizeMismatch: the layer cannot be read through the zTOC.
        SourceError: it could not be read at all.
    """
    reader = SpanReader(
        info, lambda start, end: source.fetch_range(layer, start, end), name=f"layer {layer.digest}"
    )
    for number in numbers:
        for _ in reader.read_span(number):
            pass


def _restored(layer: Descriptor, data: bytes, info: CompressionInfo) -> IndexedLayer:
    return IndexedLayer(
        ztoc=bytearray(data),
        digest=digest_of(data),
        layer_digest=layer.digest,
        compressed_bytes=layer.size,
        uncompressed_bytes=info.spans[-1].uncompressed_end if info.spans else 0,
        files=sum(1 for _ in scan_files(data)),
        spans=len(info.spans),
        needs_xattrs=decode_needs_xattrs(data),
    )
