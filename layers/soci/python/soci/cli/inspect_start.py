"""Parts of `inspect` about the start: prefetch artifacts, and the profile that was pushed for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soci.cli.start_profiles import fetch_pushed_profile
from soci.cli.terminal import count_text, short, size_text
from soci.errors import InputError, IntegrityError, InvalidDocument, SourceError
from soci.image.documents import PlatformImage
from soci.image.filesystem import shown
from soci.image.indexed import fetch_ztoc
from soci.index.prefetch import fetch_prefetch, merge_ranges
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.ztoc.decode import decode_compression_info

_RANGES_SHOWN = 10


def ztoc_beside(prefetch: Descriptor, ztocs: Mapping[Digest, Descriptor]) -> Descriptor | None:
    """Return the zTOC that a SOCI index has of the same layer."""
    layer = prefetch.annotations.get(SOCI_IMAGE_LAYER_DIGEST, "")
    return next((ztoc for digest, ztoc in ztocs.items() if str(digest) == layer), None)


def prefetch_document(
    source: ImageSource, prefetch: Descriptor, ztoc: Descriptor | None
) -> dict[str, object]:
    """Describe a prefetch artifact: its ranges of spans, and their compressed bytes. Or say why it cannot be read."""
    try:
        if ztoc is None:
            raise InvalidDocument("the layer has no zTOC")
        spans = decode_compression_info(fetch_ztoc(source, ztoc)).spans
        ranges = fetch_prefetch(source, prefetch, span_count=len(spans))
    except (IntegrityError, SourceError) as error:
        return {"error": str(error)}
    numbers = [number for part in merge_ranges(ranges) for number in range(part.start, part.end + 1)]
    return {
        "ranges": [{"start_span": part.start, "end_span": part.end} for part in ranges],
        "spans": len(numbers),
        "span_bytes": sum(spans[number].end - spans[number].start for number in numbers),
        "layer_spans": len(spans),
    }


def prefetch_line(layer: object, prefetch: Mapping[str, Any]) -> str:
    """Show a prefetch artifact in one line."""
    name = f"  prefetch of {short(layer)}: "
    if "error" in prefetch:
        return f"{name}unreadable: {prefetch['error']}"
    ranges = [(part["start_span"], part["end_span"]) for part in prefetch["ranges"]]
    listed = ", ".join(
        str(start) if start == end else f"{start}-{end}" for start, end in ranges[:_RANGES_SHOWN]
    )
    more = len(ranges) - _RANGES_SHOWN
    spans = f"{prefetch['spans']:,} of {count_text(prefetch['layer_spans'], 'span')}"
    rest = f" and {count_text(more, 'more range')}" if more > 0 else ""
    return f"{name}{size_text(prefetch['span_bytes'])}, {spans}: {listed}{rest}"


def pushed_profile_document(source: ImageSource, image: PlatformImage) -> dict[str, object] | None:
    """Describe the profile that was pushed for an image, or say why it cannot be read; None without one."""
    try:
        pushed = fetch_pushed_profile(source, image)
    except (InputError, IntegrityError, SourceError) as error:
        return {"error": str(error)}
    if pushed is None:
        return None
    profile = pushed.used.profile
    return {
        "artifact": str(pushed.artifact.digest),
        "digest": str(pushed.used.digest),
        "image": None if profile.image is None else str(profile.image),
        "program": None if profile.program is None else shown(profile.program),
        "starts": profile.starts,
        "files": len(profile.files),
    }


def pushed_profile_lines(document: Mapping[str, Any] | None) -> Sequence[str]:
    """Show the profile of an image."""
    if document is None:
        return ()
    if "error" in document:
        return (f"  start profile: unreadable: {document['error']}",)
    of = f" of {document['program']}" if document["program"] else ""
    files, starts = count_text(document["files"], "file"), count_text(document["starts"], "start")
    return (f"  start profile {document['digest']}: {starts}{of}, {files}",)
