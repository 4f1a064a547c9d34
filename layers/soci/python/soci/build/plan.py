"""Which layers of an image get a zTOC. Descriptors alone decide (formats.md 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, MultiMember, ZstdLayers
from soci.ztoc.model import LayerTask


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One layer of an image, and how it is to be indexed, or why not."""

    descriptor: Descriptor
    decision: Compression | LeftOut
    """The compression of a layer to index, or the reason to leave it out."""

    @property
    def is_recompressed(self) -> bool:
        """Whether the layer is zstd. It is recompressed to gzip, and the gzip layer is indexed."""
        return self.decision is Compression.ZSTD


def plan_task(
    settings: IndexSettings, compression: Compression, layer: Descriptor | None = None
) -> LayerTask:
    """Return the task for the engine. If the layer is described, the engine checks its digest and size."""
    return LayerTask(
        expected_digest=layer.digest if layer else None,
        expected_bytes=layer.size if layer else None,
        compression=compression,
        span_size_bytes=settings.span_size_bytes,
        build_tool_identifier=settings.build_tool_identifier,
        multi_member=settings.multi_member is MultiMember.INDEX,
    )


def plan_layers(manifest: ImageManifest, settings: IndexSettings) -> tuple[PlannedLayer, ...]:
    """Decide on each layer of an image, in order. A layer that occurs twice is listed twice."""
    return tuple(
        PlannedLayer(descriptor=layer, decision=plan_layer(layer, settings))
        for layer in manifest.layers or ()
    )


def plan_layer(layer: Descriptor, settings: IndexSettings) -> Compression | LeftOut:
    """Decide on one layer. The first rule that applies gives the decision."""
    decision = _first_rule(layer, settings)
    if isinstance(decision, Compression):
        return decision
    detail = layer.media_type
    if decision is Reason.BELOW_MIN_SIZE:
        detail = f"{layer.size} bytes, the minimum is {settings.min_layer_size_bytes}"
    elif decision is Reason.FOREIGN and layer.urls:
        detail = layer.urls[0]
    return LeftOut(reason=decision, detail=detail)


def _first_rule(layer: Descriptor, settings: IndexSettings) -> Compression | Reason:
    compression = media_types.compression_of(layer.media_type)
    is_foreign = media_types.is_foreign(layer.media_type)
    recompress = settings.zstd_layers is ZstdLayers.RECOMPRESS
    rules: tuple[tuple[bool, Compression | Reason], ...] = (
        (not media_types.is_layer(layer.media_type), Reason.NOT_A_LAYER),
        (layer.size < settings.min_layer_size_bytes, Reason.BELOW_MIN_SIZE),
        (media_types.is_encrypted(layer.media_type), Reason.ENCRYPTED),
        (compression is Compression.ZSTD, Compression.ZSTD if recompress else Reason.ZSTD),
        (is_foreign and (bool(layer.urls) or compression is None), Reason.FOREIGN),
        (True, compression or Reason.UNKNOWN_COMPRESSION),
    )
    return next(decision for applies, decision in rules if applies)
