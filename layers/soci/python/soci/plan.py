"""Which layers of an image get a zTOC, told from descriptors alone (formats.md 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.oci.media_types import Compression
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings
from soci.ztoc.model import CompressionAlgorithm

_ALGORITHMS = {
    Compression.GZIP: CompressionAlgorithm.GZIP,
    Compression.UNCOMPRESSED: CompressionAlgorithm.UNCOMPRESSED,
    Compression.UNKNOWN: CompressionAlgorithm.UNCOMPRESSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One layer of an image, and how it is to be indexed or why it is not."""

    descriptor: Descriptor
    decision: CompressionAlgorithm | LeftOut


def plan_layers(manifest: ImageManifest, settings: IndexSettings) -> tuple[PlannedLayer, ...]:
    """Decide on each layer of an image, in order; one that occurs twice is listed twice."""
    return tuple(
        PlannedLayer(descriptor=layer, decision=plan_layer(layer, settings)) for layer in manifest.layers or ()
    )


def plan_layer(layer: Descriptor, settings: IndexSettings) -> CompressionAlgorithm | LeftOut:
    """Decide on one layer; the order of the rules decides which reason is given."""
    media_type = layer.media_type
    if not media_types.is_layer(media_type):
        return LeftOut(reason=Reason.NOT_A_LAYER, detail=media_type)
    if layer.size < settings.min_layer_size_bytes:
        detail = f"{layer.size} bytes, the minimum is {settings.min_layer_size_bytes}"
        return LeftOut(reason=Reason.BELOW_MIN_SIZE, detail=detail)
    if media_types.is_encrypted(media_type):
        return LeftOut(reason=Reason.ENCRYPTED, detail=media_type)
    compression = media_types.compression_of(media_type)
    if compression is Compression.ZSTD:
        return LeftOut(reason=Reason.ZSTD)
    if media_types.is_foreign(media_type) and (layer.urls or compression not in _ALGORITHMS):
        return LeftOut(reason=Reason.FOREIGN, detail=layer.urls[0] if layer.urls else media_type)
    if compression not in _ALGORITHMS:
        return LeftOut(reason=Reason.UNKNOWN_COMPRESSION, detail=media_type)
    return _ALGORITHMS[compression]
