"""The state of each image of a repository: which indexes it has, and whether the builder would index it.

The filter decides here, too (`soci.service.filter.decide`), so `status` and the builder always agree. This module adds
what the filter does not say: the versions, platforms and originals of the indexes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, fetch_image
from soci.index.classify import is_converted
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.places.ports import ImageSource, SourceOpener
from soci.service.filter.decide import decide
from soci.service.filter.platforms import plan_platforms
from soci.service.filter.rules import image_size_bytes
from soci.service.filter.start_profile import ProfileFinder
from soci.service.filter.up_to_date import has_v1, has_v2
from soci.service.messages import Action, Decision, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, StartProfiles, TagPolicy
from soci.settings import IndexVersion
from soci.upkeep.inventory import Inventory, Listed
from soci.upkeep.status.find_indexes import (
    ConvertedImage,
    IndexV1Finder,
    PlatformFacts,
    fetch_index_v1,
    find_converted,
    find_platforms,
)
from soci.upkeep.status.states import ImageStatus, IndexState

_CONCURRENT_READS = 8
_GONE = (NotInImage, BlobMissing)


def fetch_status(inventory: Inventory, repository: str, configuration: Configuration) -> list[ImageStatus]:
    """Return the state of each tagged image of a repository, the newest first, then by tag.

    The converted image of another tag is reported with that tag, not by itself.

    Raises:
        SourceError: the registry cannot be read.
    """
    listed = list(inventory.fetch_images(repository, only_tagged=False))
    if inventory.has_api and not any(one.artifact_type == media_types.START_PROFILE for one in listed):
        configuration = _without_profiles(configuration)  # else each image costs two requests for nothing
    survey = _Survey(
        repository=repository,
        configuration=configuration,
        open_image=inventory.open_image,
        digests={tag: one.digest for one in listed for tag in one.tags},
        find_index_v1=_find_index_v1_in(listed) if inventory.has_api else fetch_index_v1,
        untagged=_find_untagged(inventory, repository, configuration, listed),
    )
    images = [one for one in listed if one.artifact_type != media_types.START_PROFILE]
    tasks = [(one, tag) for one in images for tag in one.tags]
    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        found = [status for status in pool.map(survey.examine, tasks) if status is not None]
    return sorted(found, key=lambda one: (-one.pushed_at.timestamp() if one.pushed_at else 0.0, one.tag))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An image and its indexes."""

    tag: str
    image: Image
    platforms: tuple[PlatformFacts, ...]
    converted: ConvertedImage | None = None
    has_outdated: bool = False
    """Whether the converted image's tag leads to one made from another image."""
    has_promised: bool = False
    """Whether an untagged converted image is the one that the settings promise. The filter decides on tagged ones."""

    @property
    def index_tag(self) -> str | None:
        """The tag to deploy; None if there is no version 2 index, or only a digest leads to it."""
        return self.converted.tag if self.converted else self.tag if is_converted(self.image) else None

    @property
    def index_digest(self) -> Digest | None:
        """The digest of the SOCI-enabled image."""
        root = self.image.root.digest
        return self.converted.digest if self.converted else root if is_converted(self.image) else None

    def versions_of(self, one: PlatformFacts) -> frozenset[IndexVersion]:
        """Return the versions of a platform: the image's own and those of its converted image."""
        others = self.converted.platforms if self.converted else ()
        twin = next(
            (
                other
                for other in others
                if other.config == one.config and other.platform.matches(one.platform)
            ),
            None,
        )
        return one.versions | (twin.versions if twin else frozenset())

    @property
    def problem(self) -> str:
        """Why an index that an image names cannot be used."""
        own = (one.problem for one in self.platforms if one.problem)
        return next(own, self.converted.problem if self.converted else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """One repository. Shared by threads."""

    repository: str
    configuration: Configuration
    open_image: SourceOpener
    digests: Mapping[str, Digest]
    """By tag."""
    find_index_v1: IndexV1Finder
    untagged: Sequence[ConvertedImage] | None
    """Untagged SOCI-enabled images, the newest first, if the settings make any; None if they cannot be listed."""

    def examine(self, task: tuple[Listed, str]) -> ImageStatus | None:
        """Return the state of a tagged image; None if it is reported with another tag."""
        listed, tag = task
        blank = ImageStatus(
            repository=self.repository,
            tag=tag,
            digest=listed.digest,
            state=IndexState.BROKEN,
            platforms={},
            pushed_at=listed.pushed_at,
        )
        open_image = cache(self.open_image)  # the filter and `_find` read the same documents
        try:
            return self._examine(blank, open_image)
        except (IntegrityError, *_GONE) as error:
            return replace(blank, detail=str(error))

    def _examine(self, blank: ImageStatus, open_image: SourceOpener) -> ImageStatus | None:
        request = ImageRequest(repository=self.repository, tag=blank.tag)
        original = self.configuration.original_tag(request.tag)
        if original is not None:
            converted = find_converted(open_image, self.repository, blank.tag)
            if converted is not None:
                return None if original in self.digests else _orphan(blank, converted)
            if self.digests.get(original) == blank.digest:
                return None  # the promised tag of an image without anything to index
        decision = decide(request, self.configuration, open_image)
        if decision.reason is ImageReason.NOT_AN_IMAGE:
            return replace(blank, state=IndexState.LEFT_OUT, reason=decision.reason, detail=decision.detail)
        found = self._find(blank.tag, open_image)
        state = self._state(decision, found)
        is_left_out = state is IndexState.LEFT_OUT
        return replace(
            blank,
            state=state,
            platforms={str(one.image.platform): found.versions_of(one) for one in found.platforms},
            index_tag=found.index_tag,
            index_digest=found.index_digest,
            size_bytes=max((image_size_bytes(one.image.manifest) for one in found.platforms), default=None),
            reason=decision.reason if is_left_out else None,
            detail=decision.detail if is_left_out else found.problem,
        )

    def _find(self, tag: str, open_image: SourceOpener) -> _Found:
        source = open_image(self.repository, tag)
        image = fetch_image(source)
        own = _Found(tag=tag, image=image, platforms=find_platforms(source, image, self.find_index_v1))
        tagging = self.configuration.tagging
        if not is_converted(image) and tagging.policy is TagPolicy.DIGEST_ONLY:
            return self._with_untagged_converted(own, source, open_image)
        if is_converted(image) or tagging.policy is not TagPolicy.SUFFIX:
            return own
        converted = find_converted(open_image, self.repository, tag + tagging.suffix)
        if converted is None:
            return own
        return (
            replace(own, converted=converted) if converted.is_of(image) else replace(own, has_outdated=True)
        )

    def _with_untagged_converted(self, own: _Found, source: ImageSource, open_image: SourceOpener) -> _Found:
        """Add the converted image that the settings promise, else the newest one of this image."""
        candidates = [one for one in self.untagged or () if one.is_of(own.image)]
        index = self.configuration.index
        profiles = ProfileFinder(
            repository=self.repository, tag=own.tag, source=source, open_image=open_image, index=index
        )
        planned = plan_platforms(own.image, self.configuration, profiles if candidates else None)
        has_promised_v1 = not index.makes_v1 or has_v1(source, planned, index.settings)
        for one in candidates:
            output = open_image(self.repository, str(one.digest))
            if has_promised_v1 and has_v2(output, own.image, planned, index.settings):
                return replace(own, converted=one, has_promised=True)
        return replace(own, converted=candidates[0] if candidates else None)

    def _state(self, decision: Decision, found: _Found) -> IndexState:
        """Return the state. The filter's decision says which platforms are to be indexed; see `decide`."""
        versions = [found.versions_of(one) for one in found.platforms]
        if found.problem:
            return IndexState.BROKEN
        if decision.reason is ImageReason.ALREADY_INDEXED or found.has_promised:
            return IndexState.INDEXED
        if decision.action is not Action.INDEX:
            return IndexState.INDEXED if any(versions) else IndexState.LEFT_OUT
        if found.has_outdated:
            return IndexState.OUTDATED
        planned = {plan.digest for plan in decision.platforms if plan.reason is None}
        versions = [
            found.versions_of(one) for one in found.platforms if one.image.descriptor.digest in planned
        ]
        return self._state_of_planned(versions)

    def _state_of_planned(self, versions: Sequence[frozenset[IndexVersion]]) -> IndexState:
        """Return the state of an image from the index versions of the platforms to index."""
        wanted = self.configuration.index.versions
        if all(wanted <= there for there in versions):
            return IndexState.OTHER_SETTINGS
        if any(wanted & there for there in versions):
            return IndexState.PARTLY
        if self.untagged is None and IndexVersion.V2 in wanted:
            return IndexState.UNKNOWN
        return IndexState.V1_ONLY if any(versions) and IndexVersion.V2 in wanted else IndexState.MISSING


def _find_index_v1_in(listed: Sequence[Listed]) -> IndexV1Finder:
    """Return a finder that uses the list: ECR allows only a few referrers requests per second.

    A list without subjects comes from a registry that only imitates ECR. Then each image's referrers are requested.
    """
    indexes = [one for one in listed if one.artifact_type == media_types.SOCI_INDEX_V1]
    if any(one.subject is None for one in indexes):
        return fetch_index_v1
    found = {one.subject: one.digest for one in indexes}
    return lambda _, image: found.get(image)


def _find_untagged(
    inventory: Inventory, repository: str, configuration: Configuration, listed: Sequence[Listed]
) -> Sequence[ConvertedImage] | None:
    """Read the untagged image indexes, if the settings leave SOCI-enabled images untagged."""
    if configuration.tagging.policy is not TagPolicy.DIGEST_ONLY or not configuration.index.makes_v2:
        return ()
    if not inventory.has_api:
        return None
    indexes = [one for one in listed if not one.tags and media_types.is_index(one.media_type)]
    indexes.sort(key=lambda one: one.pushed_at.timestamp() if one.pushed_at else 0.0, reverse=True)
    with ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        found = pool.map(
            lambda one: find_converted(inventory.open_image, repository, str(one.digest)), indexes
        )
        return [converted for converted in found if converted is not None]


def _without_profiles(configuration: Configuration) -> Configuration:
    return replace(configuration, index=replace(configuration.index, start_profiles=StartProfiles.OFF))


def _orphan(blank: ImageStatus, converted: ConvertedImage) -> ImageStatus:
    return replace(
        blank,
        state=IndexState.ORPHAN,
        platforms={str(one.image.platform): one.versions for one in converted.platforms},
        index_tag=converted.tag,
        index_digest=converted.digest,
        size_bytes=max((image_size_bytes(one.image.manifest) for one in converted.platforms), default=None),
    )
