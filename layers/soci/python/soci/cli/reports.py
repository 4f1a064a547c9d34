"""Output that several commands share: why a layer has no zTOC, and parts of their JSON documents."""

from __future__ import annotations

from collections.abc import Sequence

from soci.cli.terminal import print_lines
from soci.image.documents import PlatformImage
from soci.oci.descriptor import Descriptor
from soci.reasons import LeftOut, Reason
from soci.ztoc.model import IndexedLayer


def layer_document(image: PlatformImage, layer: Descriptor) -> dict[str, object]:
    """Describe a layer of an image."""
    return {
        "platform": str(image.platform),
        "digest": str(layer.digest),
        "media_type": layer.media_type,
        "size_bytes": layer.size,
    }


def indexed_document(indexed: IndexedLayer, seconds: float) -> dict[str, object]:
    """Describe the zTOC of a layer."""
    return {
        "digest": str(indexed.digest),
        "size_bytes": len(indexed.ztoc),
        "spans": indexed.spans,
        "files": indexed.files,
        "seconds": round(seconds, 3),
    }


def reason_document(left_out: LeftOut) -> dict[str, object]:
    """Say why a layer has no zTOC."""
    return {"reason": left_out.reason, "sentence": left_out.reason.sentence, "detail": left_out.detail}


def reason_or_none(outcome: object) -> dict[str, object]:
    """Say why a layer has no zTOC, or that there is no reason."""
    return reason_document(outcome) if isinstance(outcome, LeftOut) else {"reason": None}


def print_reasons(left_out: Sequence[LeftOut]) -> None:
    """Explain each reason once, with the detail of the first layer that it applies to."""
    first: dict[Reason, LeftOut] = {}
    for one in left_out:
        first.setdefault(one.reason, one)
    print_lines([f"{reason}: {one}" for reason, one in first.items()])
