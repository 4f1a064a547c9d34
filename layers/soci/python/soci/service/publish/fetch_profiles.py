"""The start profiles that a message names, fetched and checked again. One that is gone or broken is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from soci.errors import SociError
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.service.messages import PlatformPlan
from soci.service.publish.match_plan import PlatformLayers
from soci.start.prefetch_source import UsedProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedProfiles:
    """The profiles of an image's platforms, by the digest of their image manifest."""

    used: Mapping[Digest, UsedProfile] = field(default_factory=dict)
    problems: Mapping[Digest, str] = field(default_factory=dict)
    """What is wrong with profiles that are not used."""


def fetch_profiles(
    source: ImageSource, platforms: Iterable[PlatformLayers], plans: Iterable[PlatformPlan]
) -> FetchedProfiles:
    """Fetch the profiles that were planned. Raises `SourceError` if the registry is busy or unavailable."""
    from soci.service.usable_profile import fetch_usable_profile  # noqa: PLC0415 - most images have no profile

    planned = {plan.digest: plan for plan in plans}
    used: dict[Digest, UsedProfile] = {}
    problems = {digest: plan.profile_problem for digest, plan in planned.items() if plan.profile_problem}
    for one in platforms:
        digest = one.image.descriptor.digest
        wanted = planned[digest].profile
        if wanted is None:
            continue
        try:
            profile = fetch_usable_profile(source, wanted.descriptor, one.image.platform)
        except SociError as error:
            if error.retryable:
                raise
            problems[digest] = str(error)
        else:
            used[digest] = UsedProfile(profile=profile, digest=wanted.digest)
    return FetchedProfiles(used=used, problems=problems)
