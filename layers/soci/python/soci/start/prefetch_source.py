"""What decides the prefetch of an index: a start profile, patterns, settings. A digest of it stands in the index.

So whoever looks at an index can tell whether the profile and the settings of today would make the same one, without
reading the profile or a zTOC (docs/adr/0050).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from soci.oci.digest import Digest, digest_of
from soci.oci.platform import Platform
from soci.settings import IndexSettings

if TYPE_CHECKING:
    from soci.start.profile import StartProfile

PLAN_VERSION = 1
"""Goes up when the same profile and settings lead to another prefetch. Older indexes then count as out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedProfile:
    """A profile that decides the prefetch of an image for one platform."""

    profile: StartProfile
    digest: Digest
    """The digest of the bytes that the profile was read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileUse:
    """What came of a profile when an image was indexed with it."""

    digest: Digest
    """That of the profile."""
    files: int
    """How many files the profile has."""
    missing: tuple[bytes, ...]
    """Paths of the profile that the image does not have."""
    needed_bytes: int
    """The compressed bytes of all spans that the start needs of layers with a zTOC."""
    prefetched_bytes: int
    """Those of them that are prefetched."""
    left_off_spans: int
    """How many of these spans did not fit into the budget."""
    renamed: Mapping[bytes, bytes] = field(default_factory=dict, hash=False)
    """For some of the missing files, the file that is there in their place (`soci.start.successors`)."""


def choose_profile(profiles: Sequence[UsedProfile], platform: Platform) -> UsedProfile | None:
    """Return the first profile for a platform, else the first that names no platform."""
    for one in profiles:
        if one.profile.platform is not None and one.profile.platform.matches(platform):
            return one
    return next((one for one in profiles if one.profile.platform is None), None)


def prefetch_source_digest(settings: IndexSettings, profile: Digest | None) -> Digest | None:
    """Return a digest of all that decides the prefetch of an image, besides the image; None if nothing does.

    Args:
        settings: the patterns count always, budget and whole layers only with a profile.
        profile: the digest of the profile's bytes, if there is one.
    """
    if profile is None and not settings.prefetch_patterns:
        return None
    source: dict[str, object] = {"plan": PLAN_VERSION, "patterns": list(settings.prefetch_patterns)}
    if profile is not None:
        source |= {
            "profile": str(profile),
            "budget_bytes": settings.prefetch_budget_bytes,
            "whole_layers": settings.whole_layers.value,
        }
        if settings.start_first:  # the profile decides the layers, too
            source["start_first"] = True
    return digest_of(json.dumps(source).encode())
