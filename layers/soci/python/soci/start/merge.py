"""One profile of several: what any of the starts read, each byte at the earliest time that a start needed it.

The earliest time and not the median: then merging is the same in any order and grouping, so a profile can grow start by
start. What is prefetched for the earliest start is in time for the others, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TypeVar

from soci.errors import InvalidDocument
from soci.oci.platform import Platform
from soci.start.profile import MAX_FILES, MAX_RANGES, FileRead, StartProfile, make_profile
from soci.start.ranges import join_ranges

_T = TypeVar("_T")


def merge_profiles(profiles: Iterable[StartProfile]) -> StartProfile:
    """Merge profiles, at least one, of one platform.

    Starts are summed, for the whole and for each file. A file that one profile has whole and without ranges is whole.
    What the profiles do not agree on is left out: image, program, the layer of a file. Spans are kept for one image.

    Raises:
        InvalidDocument: the platforms differ, or the merged profile exceeds the limits of the format.
    """
    merged = reduce(_merge, map(_normal, profiles))
    if len(merged.files) > MAX_FILES:
        raise InvalidDocument(f"the merged profile has {len(merged.files)} files, the limit is {MAX_FILES}")
    if (ranges := sum(len(one.ranges) for one in merged.files)) > MAX_RANGES:
        raise InvalidDocument(f"the merged profile has {ranges} ranges, the limit is {MAX_RANGES}")
    return merged


def _normal(profile: StartProfile) -> StartProfile:
    """Return the profile as if it had been merged."""
    files = [_merge_files(one, None, keeps_spans=profile.image is not None) for one in profile.files]
    return make_profile(
        files,
        image=profile.image,
        platform=_common_platform(profile.platform, None),
        program=profile.program,
        starts=profile.starts,
    )


def _merge(one: StartProfile, other: StartProfile) -> StartProfile:
    image = _common(one.image, other.image)
    others = {read.path: read for read in other.files}
    files = [
        _merge_files(read, others.pop(read.path, None), keeps_spans=image is not None) for read in one.files
    ]
    files += [_merge_files(read, None, keeps_spans=image is not None) for read in others.values()]
    return make_profile(
        files,
        image=image,
        platform=_common_platform(one.platform, other.platform),
        program=_common(one.program, other.program),
        starts=one.starts + other.starts,
    )


def _merge_files(one: FileRead, other: FileRead | None, *, keeps_spans: bool) -> FileRead:
    reads = (one,) if other is None else (one, other)
    layer = _common(one.layer, reads[-1].layer)
    spans = {span for read in reads for span in read.spans} if keeps_spans and layer is not None else set()
    is_whole = any(not read.ranges for read in reads)
    return FileRead(
        path=one.path,
        first_ms=min(read.first_ms for read in reads),
        last_ms=max(read.last_ms for read in reads),
        size_bytes=max((read.size_bytes for read in reads if read.size_bytes is not None), default=None),
        ranges=() if is_whole else join_ranges(part for read in reads for part in read.ranges),
        layer=layer,
        spans=tuple(sorted(spans)),
        starts=sum(read.starts for read in reads),
    )


def _common(one: _T | None, other: _T | None) -> _T | None:
    return one if one == other else None


def _common_platform(one: Platform | None, other: Platform | None) -> Platform | None:
    known = [platform.normalized() for platform in (one, other) if platform is not None]
    if len(known) == 2 and not known[0].matches(known[1]):
        raise InvalidDocument(f"profiles of {known[0]} and {known[1]}: merge only profiles of one platform")
    return min(known, key=lambda platform: (platform.os_version, platform.os_features), default=None)
