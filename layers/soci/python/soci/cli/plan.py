"""`soci-index plan`: which layers of an image would be indexed."""

from __future__ import annotations

from collections.abc import Sequence

from soci.build.plan import PlannedLayer, plan_layers
from soci.cli.options import (
    ImageArgument,
    JsonOption,
    MinLayerSizeOption,
    PlatformOptions,
    ZstdOption,
)
from soci.cli.reports import layer_document, print_reasons, reason_or_none
from soci.cli.terminal import print_json, print_lines, print_table, short, size_text
from soci.image.documents import Image, PlatformImage, choose_images, fetch_image
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.reasons import LeftOut
from soci.settings import DEFAULT_MIN_LAYER_SIZE_BYTES, IndexSettings, ZstdLayers

_Plans = Sequence[tuple[PlatformImage, Sequence[PlannedLayer]]]


def plan(
    image: ImageArgument,
    *,
    platforms: PlatformOptions,
    min_layer_size: MinLayerSizeOption = DEFAULT_MIN_LAYER_SIZE_BYTES,
    zstd: ZstdOption = ZstdLayers.LEAVE_OUT,
    as_json: JsonOption = False,
) -> None:
    """Show which layers would be indexed, and why the others would not. Reads no layer."""
    settings = IndexSettings(min_layer_size_bytes=min_layer_size, zstd_layers=zstd)
    found = fetch_image(open_source(parse_reference(image)))
    chosen = choose_images(found, platforms.platforms())
    plans = [(one, plan_layers(one.manifest, settings)) for one in chosen]
    if as_json:
        print_json(_document(found, plans))
    else:
        _print(found, plans)


def _document(image: Image, plans: _Plans) -> dict[str, object]:
    return {
        "image": str(image.root.digest),
        "layers": [
            layer_document(one, layer.descriptor)
            | {"index": not isinstance(layer.decision, LeftOut)}
            | reason_or_none(layer.decision)
            for one, layers in plans
            for layer in layers
        ],
    }


def _print(image: Image, plans: _Plans) -> None:
    rows = [
        (
            str(one.platform),
            short(layer.descriptor.digest),
            size_text(layer.descriptor.size),
            _decision_text(layer),
        )
        for one, layers in plans
        for layer in layers
    ]
    print_table(("PLATFORM", "LAYER", "SIZE", "PLAN"), rows, right=("SIZE",))
    decisions = [layer.decision for _, layers in plans for layer in layers]
    left_out = [decision for decision in decisions if isinstance(decision, LeftOut)]
    print_reasons(left_out)
    planned = len(decisions) - len(left_out)
    print_lines([f"image {image.root.digest}: {planned} of {len(rows)} layers would be indexed"])


def _decision_text(layer: PlannedLayer) -> str:
    if isinstance(layer.decision, LeftOut):
        return f"left out: {layer.decision.reason}"
    return "to be recompressed and indexed" if layer.is_recompressed else "to be indexed"
