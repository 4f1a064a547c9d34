"""Which layers of an image get a zTOC, told from descriptors alone (formats.md 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.oci.media_types import Compression
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, MultiMember, ZstdLayers
from soci.ztoc.indexer import LayerTask
from soci.ztoc.model import CompressionAlgorithm

_ALGORITHMS = {
    Compression.GZIP: CompressionAlgorithm.GZIP,
    Compression.UNCOMPRESSED: CompressionAlgorithm.UNCOMPRESSED,
    Compression.UNKNOWN: CompressionAlgorithm.UNCOMPRESSED,
}


class Recompress(Enum):
    """The decision to make a copy of a layer in another compression, and to index the copy."""

    TO_GZIP = "gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One layer of an image, and how it is to be indexed or why it is not."""

    descriptor: Descriptor
    decision: CompressionAlgorithm | Recompress | LeftOut


def algorithm_of(layer: Descriptor) -> CompressionAlgorithm | None:
    """Tell how a lazy reader reads a layer of this media type; None when it does not."""
    return _ALGORITHMS.get(media_types.compression_of(layer.media_type))


def plan_task(
    settings: IndexSettings, algorithm: CompressionAlgorithm, layer: Descriptor | None = None
) -> LayerTask:
    """Return what the engine is to do with a layer, whose digest and size count if it is described."""
    return LayerTask(
        expected_digest=layer.digest if layer else None,
        expected_bytes=layer.size if layer else None,
        algorithm=algorithm,
        span_size_bytes=settings.span_size_bytes,
        build_tool_identifier=settings.build_tool_identifier,
        multi_member=settings.multi_member is MultiMember.INDEX,
    )


def plan_layers(manifest: ImageManifest, settings: IndexSettings) -> tuple[PlannedLayer, ...]:
    """Decide on each layer of an image, in order; one that occurs twice is listed twice."""
    return tuple(
        PlannedLayer(descriptor=layer, decision=plan_layer(layer, settings))
        for layer in manifest.layers or ()
    )


def plan_layer(layer: Descriptor, settings: IndexSettings) -> CompressionAlgorithm | Recompress | LeftOut:
    """Decide on one layer; the order of the rules decides which reason is given."""
    compression = media_types.compression_of(layer.media_type)
    reason = _reason_to_leave_out(layer, compression, settings)
    if reason is None:
        return _ALGORITHMS[compression]
    if reason is Reason.ZSTD and settings.zstd_layers is ZstdLayers.RECOMPRESS:
        return Recompress.TO_GZIP
    detail = layer.media_type
    if reason is Reason.BELOW_MIN_SIZE:
        detail = f"{layer.size} bytes, the minimum is {settings.min_layer_size_bytes}"
    elif reason is Reason.FOREIGN and layer.urls:
        detail = layer.urls[0]
    return LeftOut(reason=reason, detail=detail)


def _reason_to_leave_out(
    layer: Descriptor, compression: Compression, settings: IndexSettings
) -> Reason | None:
    is_foreign = media_types.is_foreign(layer.media_type)
    rules = (
        (not media_types.is_layer(layer.media_type), Reason.NOT_A_LAYER),
        (layer.size < settings.min_layer_size_bytes, Reason.BELOW_MIN_SIZE),
        (media_types.is_encrypted(layer.media_type), Reason.ENCRYPTED),
        (compression is Compression.ZSTD, Reason.ZSTD),
        (is_foreign and (bool(layer.urls) or compression not in _ALGORITHMS), Reason.FOREIGN),
        (compression not in _ALGORITHMS, Reason.UNKNOWN_COMPRESSION),
    )
    return next((reason for broken, reason in rules if broken), None)
