"""The start profile of an image: its own, else that of its line. One that cannot be used leaves its place to the next.

A profile is only a hint, so what is wrong with one is told, and the image is indexed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soci.errors import NotInImage, SociError
from soci.image.documents import PlatformImage
from soci.oci.descriptor import Descriptor
from soci.oci.platform import Platform
from soci.places.ports import ImageSource, SourceOpener
from soci.service.profile_messages import PlannedProfile, ProfileOrigin
from soci.service.settings.configuration import Index, StartProfiles
from soci.service.usable_profile import fetch_usable_profile
from soci.start.artifact import find_artifacts_of, parse_profile_artifact
from soci.start.line import check_is_of_line, line_tag, lines_of

_Search = Callable[[], PlannedProfile | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenProfile:
    """The profile of one platform's image, if it has one that can be used."""

    profile: PlannedProfile | None = None
    problem: str = ""
    """Why a profile that comes before it is not used; "" if there is no such one."""


NO_PROFILE = ChosenProfile()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFinder:
    """Finds the profiles of one image."""

    repository: str
    tag: str | None
    """Of the image. It decides which lines the image belongs to."""
    source: ImageSource
    """The image."""
    open_image: SourceOpener
    index: Index
    """The settings."""

    def find(self, one: PlatformImage) -> ChosenProfile:
        """Find the profile of one platform's image. Raises `SourceError` if the registry is busy or unavailable."""
        problem = ""
        for search in self._searches(one):
            try:
                if found := search():
                    return ChosenProfile(profile=found, problem=problem)
            except SociError as error:
                if error.retryable:
                    raise
                problem = problem or str(error)
        return ChosenProfile(problem=problem)

    def _searches(self, one: PlatformImage) -> Iterator[_Search]:
        wanted = self.index.start_profiles
        if wanted is not StartProfiles.OFF:
            yield lambda: self._find_own(one)
        if wanted is StartProfiles.LINE:
            for pattern in lines_of(self.tag, self.index.profile_lines):
                yield lambda pattern=pattern: self._find_of_line(pattern, one.platform)  # type: ignore[misc]

    def _find_own(self, one: PlatformImage) -> PlannedProfile | None:
        newest = next(iter(find_artifacts_of(self.source, one)), None)
        if newest is None:
            return None
        what = f"profile artifact {newest.digest}"
        artifact = parse_profile_artifact(self.source.fetch_manifest(newest), what)
        return _checked(self.source, artifact.profile, one.platform, ProfileOrigin.IMAGE)

    def _find_of_line(self, pattern: str, platform: Platform) -> PlannedProfile | None:
        tag = line_tag(pattern, platform)
        source = self.open_image(self.repository, tag)
        try:
            root = source.fetch_root()
        except NotInImage:
            return None
        artifact = parse_profile_artifact(source.fetch_manifest(root), f"tag {tag}")
        check_is_of_line(artifact, pattern, f"tag {tag}")
        return _checked(source, artifact.profile, platform, ProfileOrigin.LINE, pattern)


def _checked(
    source: ImageSource,
    profile: Descriptor,
    platform: Platform,
    origin: ProfileOrigin,
    line: str | None = None,
) -> PlannedProfile:
    fetch_usable_profile(source, profile, platform)
    return PlannedProfile(digest=profile.digest, size=profile.size, origin=origin, line=line)
