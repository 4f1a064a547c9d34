"""What the indexing commands print: JSON documents for programs, tables for people, from the same results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from soci.build.index_layers import LayerResult
from soci.build.plan import PlannedLayer
from soci.build.recipe import BuildResult
from soci.cli.terminal import count_text, print_lines, print_table, short, size_text
from soci.image.documents import Image, PlatformImage
from soci.oci.descriptor import Descriptor
from soci.reasons import LeftOut, Reason
from soci.ztoc.indexer import IndexedLayer

_BUILD_COLUMNS = ("LAYER", "SIZE", "FILES", "SPANS", "ZTOC", "SECONDS", "MB/S", "RESULT")
_BYTES_PER_MB = 1_000_000


def reason_document(left_out: LeftOut) -> dict[str, object]:
    """Return why a layer has no zTOC."""
    return {"reason": left_out.reason, "sentence": left_out.reason.sentence, "detail": left_out.detail}


def ztoc_document(indexed: IndexedLayer, *, seconds: float, output: Path | None) -> dict[str, object]:
    """Return what `ztoc --json` prints."""
    return {
        **_indexed_document(indexed, seconds),
        "layer_digest": str(indexed.layer_digest),
        "compressed_bytes": indexed.compressed_bytes,
        "uncompressed_bytes": indexed.uncompressed_bytes,
        "output": None if output is None else str(output),
    }


def _indexed_document(indexed: IndexedLayer, seconds: float) -> dict[str, object]:
    return {
        "digest": str(indexed.digest),
        "size_bytes": len(indexed.ztoc),
        "spans": indexed.spans,
        "files": indexed.files,
        "seconds": round(seconds, 3),
    }


def ztoc_lines(indexed: IndexedLayer, *, seconds: float, output: Path | None) -> list[str]:
    """Return what `ztoc` prints."""
    facts = {
        "zTOC": f"{indexed.digest}",
        "size": f"{size_text(len(indexed.ztoc))} for {count_text(indexed.files, 'file')} "
        f"in {count_text(indexed.spans, 'span')}",
        "layer": f"{indexed.layer_digest}",
        "read": f"{size_text(indexed.compressed_bytes)}, {size_text(indexed.uncompressed_bytes)} unpacked, "
        f"in {seconds:.2f} s",
        "written": "nowhere; -o FILE writes it" if output is None else str(output),
    }
    return [f"{name:8} {value}" for name, value in facts.items()]


def plan_document(
    image: Image, plans: Sequence[tuple[PlatformImage, Sequence[PlannedLayer]]]
) -> dict[str, object]:
    """Return what `plan --json` prints."""
    return {
        "image": str(image.root.digest),
        "layers": [
            _layer_document(one, layer.descriptor)
            | ({"index": True} if not isinstance(layer.decision, LeftOut) else {"index": False})
            | _reason_or_none(layer.decision)
            for one, layers in plans
            for layer in layers
        ],
    }


def print_plan(image: Image, plans: Sequence[tuple[PlatformImage, Sequence[PlannedLayer]]]) -> None:
    """Print what `plan` shows."""
    rows = [
        (
            str(one.platform),
            short(layer.descriptor.digest),
            size_text(layer.descriptor.size),
            _planned(layer),
        )
        for one, layers in plans
        for layer in layers
    ]
    print_table(("PLATFORM", "LAYER", "SIZE", "PLAN"), rows, right=("SIZE",))
    decisions = [layer.decision for _, layers in plans for layer in layers]
    print_reasons([decision for decision in decisions if isinstance(decision, LeftOut)])
    planned = sum(not isinstance(decision, LeftOut) for decision in decisions)
    print_lines([f"image {image.root.digest}: {planned} of {len(rows)} layers would be indexed"])


def _planned(layer: PlannedLayer) -> str:
    if isinstance(layer.decision, LeftOut):
        return f"left out: {layer.decision.reason}"
    return "to be copied as gzip and indexed" if layer.is_recompressed else "to be indexed"


def build_document(result: BuildResult, image: Image) -> dict[str, object]:
    """Return what `create --json` and `convert --json` print."""
    return {
        "digest": None if result.root is None else str(result.root.digest),
        "tag": result.tag,
        "tag_left_alone": result.tag_left_alone,
        "image": str(image.root.digest),
        "platforms": [
            {
                "platform": str(one.image.platform),
                "image_manifest": str(one.image.descriptor.digest),
                "index": None if one.index is None else str(one.index.descriptor.digest),
            }
            for one in result.platforms
        ],
        "layers": [_result_document(one.image, layer) for one in result.platforms for layer in one.layers],
    }


def _result_document(image: PlatformImage, layer: LayerResult) -> Mapping[str, object]:
    outcome = layer.outcome
    ztoc = None if isinstance(outcome, LeftOut) else _indexed_document(outcome, layer.seconds)
    copied = {"copy_of": str(layer.copy.of)} if layer.copy else {}
    reused = {"reused": True} if layer.reused else {}
    return (
        _layer_document(image, layer.descriptor) | copied | {"ztoc": ztoc} | reused | _reason_or_none(outcome)
    )


def _layer_document(image: PlatformImage, layer: Descriptor) -> dict[str, object]:
    return {
        "platform": str(image.platform),
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "size_bytes": layer.size,
    }


def _reason_or_none(outcome: object) -> dict[str, object]:
    return reason_document(outcome) if isinstance(outcome, LeftOut) else {"reason": None}


def print_build(result: BuildResult) -> None:
    """Print a table of layers per platform."""
    for one in result.platforms:
        print_lines([f"{one.image.platform}  {one.image.descriptor.digest}"])
        rows = [_build_row(layer) for layer in one.layers]
        print_table(_BUILD_COLUMNS, rows, right=_BUILD_COLUMNS[1:-1])
    outcomes = [layer.outcome for one in result.platforms for layer in one.layers]
    print_reasons([outcome for outcome in outcomes if isinstance(outcome, LeftOut)])


def print_reasons(left_out: Sequence[LeftOut]) -> None:
    """Explain each reason once, with what led to it the first time."""
    first: dict[Reason, LeftOut] = {}
    for one in left_out:
        first.setdefault(one.reason, one)
    print_lines([f"{reason}: {one}" for reason, one in first.items()])


def _build_row(layer: LayerResult) -> tuple[str, ...]:
    name, size = short(layer.descriptor.digest), size_text(layer.descriptor.size)
    outcome = layer.outcome
    if isinstance(outcome, LeftOut):
        return (name, size, "", "", "", "", "", f"left out: {outcome.reason}")
    result = f"indexed, gzip copy of {short(layer.copy.of)}" if layer.copy else "indexed"
    result = "out of the cache" if layer.reused else result
    rate = layer.descriptor.size / _BYTES_PER_MB / layer.seconds if layer.seconds else 0.0
    numbers = (f"{outcome.files:,}", f"{outcome.spans:,}", size_text(len(outcome.ztoc)))
    return (name, size, *numbers, f"{layer.seconds:.2f}", f"{rate:.0f}", result)


def print_published(result: BuildResult, image: Image, *, where: str) -> None:
    """Print what is there now, and what was left alone."""
    if result.root is None:
        return
    lines = []
    for one in result.platforms:
        if one.index is not None:
            lines.append(f"SOCI index {one.index.descriptor.digest} for {one.image.platform}")
        else:
            lines.append(f"no SOCI index for {one.image.platform}: no layer got a zTOC")
    done = {one.image.platform for one in result.platforms}
    others = [str(one.platform) for one in image.images if not any(one.platform.matches(p) for p in done)]
    if others:
        lines.append(f"not asked for: {', '.join(others)} (--all-platforms indexes all)")
    if all(
        one.index is None or one.index.descriptor.digest != result.root.digest for one in result.platforms
    ):
        lines.append(f"SOCI-enabled image {result.root.digest}")
    lines.append(f"written to {where}" + (f" with tag {result.tag}" if result.tag else ""))
    print_lines(lines)
