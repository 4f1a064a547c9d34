"""zTOCs made before: how to look for one, and the checks before it is used again.

A zTOC depends on its layer and a few settings alone, so it need not be built twice. Before it is used again, it passes
the settings, the lazy reader's rules, and a look at the layer: three spans are fetched by range, hashed and inflated.
The layer as a whole is not read. So the checks find mistakes and zTOCs of other layers, but no forgery: whoever can
write to a `KnownZtocs` decides what an index says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from soci.build.layer import RecompressedLayer, Reused
from soci.build.plan import PlannedLayer
from soci.errors import InvalidZtoc
from soci.image.indexed import fetch_head, open_spans
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
from soci.ztoc.model import CompressionInfo, IndexedLayer

OUTPUT_VERSION = 1
"""Goes up when this package makes other bytes of the same layer and settings. Older zTOCs are then built again."""

GOLDEN_OUTPUT = (1, "ef387faf367c8c56aac509028bcfb5db84abef464764d5ef3fcd32c808e549b0")
"""An output version, and a hash over all zTOCs of the golden layers. A test fails if the hash alone changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseKey:
    """All that decides the bytes of a zTOC: the layer, and readable text of less than 1 KiB."""

    layer: Digest
    settings: str

    def __str__(self) -> str:
        return f"layer {self.layer} ({self.settings})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownZtoc:
    """A zTOC made before. It has passed `check_again`."""

    indexed: IndexedLayer
    reused: Reused
    recompressed: RecompressedLayer | None = None
    """The gzip layer that the zTOC is for, if the planned layer is zstd."""


class KnownZtocs(Protocol):
    """The zTOCs made before for one destination and one set of settings. It may forget any of them."""

    def find(self, layer: PlannedLayer) -> KnownZtoc | None:
        """Return a layer's zTOC; None if it has to be built. Raises `SourceError`."""

    def record(
        self, layer: PlannedLayer, indexed: IndexedLayer, recompressed: RecompressedLayer | None
    ) -> None:
        """Remember a zTOC that was just built from the whole layer. Raises `SourceError`."""


class NothingKnown:
    """A `KnownZtocs` without any."""

    def find(self, layer: PlannedLayer) -> KnownZtoc | None:  # noqa: ARG002 - a port's method
        """See `KnownZtocs`."""
        return None

    def record(
        self, layer: PlannedLayer, indexed: IndexedLayer, recompressed: RecompressedLayer | None
    ) -> None:
        """See `KnownZtocs`."""


def reuse_key(layer: PlannedLayer, settings: IndexSettings) -> ReuseKey:
    """Return the key of a layer's zTOC. The key of a zstd layer is for the zTOC of its recompressed layer."""
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


def check_again(source: ImageSource, layer: Descriptor, data: bytes, settings: IndexSettings) -> IndexedLayer:
    """Check that a zTOC is of this layer and these settings, and read the first, middle and last span through it.

    Raises:
        InvalidZtoc, DigestMismatch, SizeMismatch: the zTOC is another one, or the layer does not match its digest.
        SourceError: the layer could not be read.
    """
    info = check_as_made(source, layer, data, settings)
    last = len(info.spans) - 1
    read_spans(source, layer, info, sorted({0, len(info.spans) // 2, last}) if info.spans else ())
    return IndexedLayer(
        ztoc=data,
        digest=digest_of(data),
        layer_digest=layer.digest,
        compressed_bytes=layer.size,
        uncompressed_bytes=info.spans[-1].uncompressed_end if info.spans else 0,
        files=sum(1 for _ in scan_files(data)),
        spans=len(info.spans),
        needs_xattrs=decode_needs_xattrs(data),
    )


def check_as_made(
    source: ImageSource, layer: Descriptor, data: bytes, settings: IndexSettings
) -> CompressionInfo:
    """Check that a zTOC has these settings and a layer of this size, and that a lazy reader accepts it.

    Raises:
        InvalidZtoc: one of these does not hold.
        SourceError: the layer's beginning could not be read.
    """
    head = fetch_head(source, layer)
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
        SourceError: the layer could not be read at all.
    """
    reader = open_spans(source, layer, info)
    for number in numbers:
        for _ in reader.read_span(number):
            pass
