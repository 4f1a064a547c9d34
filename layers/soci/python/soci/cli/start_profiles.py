"""The start profile of each image that a command indexes: from files, else the one that was pushed for the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from soci.cli.profile_file import read_profile
from soci.errors import InputError, IntegrityError, InvalidDocument, InvalidOption, SourceError
from soci.image.documents import PlatformImage
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.start.artifact import fetch_profile, find_artifacts_of, parse_profile_artifact
from soci.start.prefetch_source import UsedProfile, choose_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProfiles:
    """The profiles to use, and lines about those that are not used."""

    by_image: dict[Digest, UsedProfile] = field(default_factory=dict)
    """By the digest of the image manifest."""
    origins: dict[Digest, str] = field(default_factory=dict)
    """Where each profile is from, by its own digest: a file, or `image`."""
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedProfile:
    """A profile that was pushed for an image."""

    artifact: Descriptor
    """Its manifest."""
    used: UsedProfile


def profiles_from_files(paths: Sequence[Path], chosen: Sequence[PlatformImage]) -> FoundProfiles:
    """Read profiles, and find the one for each image by its platform.

    Raises:
        InvalidOption: two profiles are for one platform.
        InvalidDocument, StorageError: a file is no profile, or cannot be read.
    """
    read = {path: read_profile(path) for path in paths}
    _refuse_two_of_a_platform(read)
    found = {
        one.descriptor.digest: profile
        for one in chosen
        if (profile := choose_profile(tuple(read.values()), one.platform)) is not None
    }
    used = {profile.digest for profile in found.values()}
    return FoundProfiles(
        by_image=found,
        origins={profile.digest: str(path) for path, profile in read.items()},
        unused=tuple(
            f"profile {path} is not used: it is for {profile.profile.platform or 'platforms without their own'}"
            for path, profile in read.items()
            if profile.digest not in used
        ),
    )


def profiles_of_images(source: ImageSource, chosen: Sequence[PlatformImage]) -> FoundProfiles:
    """Find the profile that was pushed last for each image.

    A profile is a hint, and whoever may push may put one there. So one that cannot be read is not used, and `unused`
    says why.
    """
    found = FoundProfiles()
    unused = []
    for one in chosen:
        try:
            pushed = fetch_pushed_profile(source, one)
        except (InputError, SourceError, IntegrityError) as error:
            unused.append(f"the profile of image {one.descriptor.digest} is not used: {error}")
            continue
        if pushed is not None:
            found.by_image[one.descriptor.digest] = pushed.used
            found.origins[pushed.used.digest] = "image"
    return replace(found, unused=tuple(unused))


def fetch_pushed_profile(source: ImageSource, image: PlatformImage) -> PushedProfile | None:
    """Fetch the profile that was pushed last for an image; None if there is none.

    Raises:
        IntegrityError, SourceError: it is no profile, is for another platform, or cannot be read.
    """
    newest = next(iter(find_artifacts_of(source, image)), None)
    if newest is None:
        return None
    artifact = parse_profile_artifact(source.fetch_manifest(newest), f"artifact {newest.digest}")
    profile = fetch_profile(source, artifact.profile)
    if profile.platform is not None and not profile.platform.matches(image.platform):
        raise InvalidDocument(f"it is for {profile.platform}, the image for {image.platform}")
    return PushedProfile(artifact=newest, used=UsedProfile(profile=profile, digest=artifact.profile.digest))


def _refuse_two_of_a_platform(read: dict[Path, UsedProfile]) -> None:
    first: dict[str, Path] = {}
    for path, profile in read.items():
        platform = profile.profile.platform
        name = "any platform" if platform is None else str(platform.normalized())
        if name in first:
            raise InvalidOption(
                f"--profile: {first[name]} and {path} are both for {name}; "
                "make one of them with `soci-index profile merge`"
            )
        first[name] = path
