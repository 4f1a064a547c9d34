"""The state of every image of a repository: what the builder would do about it, and what is there.

The filter decides here too (`soci.service.filter.decide`), so both always agree. What it does not say is found beside
it: which versions there are, of which platforms, of which image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

from soci.errors import BlobMissing, IntegrityError, NotInImage
from soci.image.documents import Image, fetch_image
from soci.index.classify import is_soci_enabled
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.service.filter.decide import SourceOpener, decide, plan_platforms
from soci.service.filter.rules import image_size_bytes, original_tag
from soci.service.filter.up_to_date import has_v1, has_v2
from soci.service.messages import Action, Decision, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, TagPolicy
from soci.settings import IndexVersion
from soci.upkeep.inventory import Inventory, Listed
from soci.upkeep.status.find_indexes import (
    ConvertedImage,
    FindReferrer,
    PlatformFacts,
    ask_referrers,
    find_converted,
    find_platforms,
)
from soci.upkeep.status.states import ImageStatus, IndexState

_AT_A_TIME = 8
_GONE = (NotInImage, BlobMissing)


def fetch_status(inventory: Inventory, repository: str, configuration: Configuration) -> list[ImageStatus]:
    """Tell the state of each tagged image of a repository, the newest first, then by tag.

    A tag that only names the SOCI-enabled copy of another one has no line of its own.

    Raises:
        SourceError: the registry cannot be asked.
    """
    listed = list(inventory.fetch_images(repository, only_tagged=False))
    survey = _Survey(
        repository=repository,
        configuration=configuration,
        open_image=inventory.open_image,
        digests={tag: one.digest for one in listed for tag in one.tags},
        find_referrer=_listed_referrers(listed) if inventory.has_api else ask_referrers,
        nameless=_find_nameless(inventory, repository, configuration, listed),
    )
    tasks = [(one, tag) for one in listed for tag in one.tags]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = [status for status in pool.map(survey.look_at, tasks) if status is not None]
    return sorted(found, key=lambda one: (-one.pushed_at.timestamp() if one.pushed_at else 0.0, one.tag))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What there is of an image."""

    tag: str
    image: Image
    platforms: tuple[PlatformFacts, ...]
    copy: ConvertedImage | None = None
    has_old_copy: bool = False
    """Whether what lies under the copy's tag was made of another image."""
    has_promised: bool = False
    """Whether a copy without a tag is what the settings promise; of others the decision tells."""

    @property
    def index_tag(self) -> str | None:
        """Which tag a task has to name; None if there is no index, or only its digest leads to it."""
        return self.copy.tag if self.copy else self.tag if is_soci_enabled(self.image) else None

    @property
    def index_digest(self) -> Digest | None:
        """The SOCI-enabled image itself."""
        root = self.image.root.digest
        return self.copy.digest if self.copy else root if is_soci_enabled(self.image) else None

    def versions_of(self, one: PlatformFacts) -> frozenset[IndexVersion]:
        """Add up the image's own indexes and its copy's."""
        twins = self.copy.platforms if self.copy else ()
        twin = next(
            (two for two in twins if two.config == one.config and two.platform.matches(one.platform)), None
        )
        return one.versions | (twin.versions & {IndexVersion.V2} if twin else frozenset())

    @property
    def problem(self) -> str:
        """Why an index that is named cannot be used."""
        own = (one.problem for one in self.platforms if one.problem)
        return next(own, self.copy.problem if self.copy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survey:
    """One repository. Shared by threads."""

    repository: str
    configuration: Configuration
    open_image: SourceOpener
    digests: Mapping[str, Digest]
    """By tag."""
    find_referrer: FindReferrer
    nameless: Sequence[ConvertedImage] | None
    """SOCI-enabled images without a tag, the newest first, if the settings make such; None: nobody knows of them."""

    def look_at(self, task: tuple[Listed, str]) -> ImageStatus | None:
        """Tell the state of an image under a tag; None for what belongs to the line of another tag."""
        listed, tag = task
        blank = ImageStatus(
            repository=self.repository,
            tag=tag,
            digest=listed.digest,
            state=IndexState.BROKEN,
            platforms={},
            pushed_at=listed.pushed_at,
        )
        open_image = cache(self.open_image)  # what one look has read the other need not read again
        try:
            return self._look_at(blank, open_image)
        except (IntegrityError, *_GONE) as error:
            return replace(blank, detail=str(error))

    def _look_at(self, blank: ImageStatus, open_image: SourceOpener) -> ImageStatus | None:
        request = ImageRequest(repository=self.repository, tag=blank.tag)
        original = original_tag(request, self.configuration)
        if original is not None:
            copy = find_converted(open_image, self.repository, blank.tag)
            if copy is not None:
                return None if original in self.digests else _orphan(blank, copy)
            if self.digests.get(original) == blank.digest:
                return None  # the tag was promised, and there was nothing to index
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
        own = _Found(tag=tag, image=image, platforms=find_platforms(source, image, self.find_referrer))
        tagging = self.configuration.tagging
        if not is_soci_enabled(image) and tagging.policy is TagPolicy.DIGEST_ONLY:
            return self._with_nameless_copy(own, source, open_image)
        if is_soci_enabled(image) or tagging.policy is not TagPolicy.SUFFIX:
            return own
        copy = find_converted(open_image, self.repository, tag + tagging.suffix)
        if copy is None:
            return own
        return replace(own, copy=copy) if copy.is_of(image) else replace(own, has_old_copy=True)

    def _with_nameless_copy(self, own: _Found, source: ImageSource, open_image: SourceOpener) -> _Found:
        """Add the copy that the settings promise, else the newest one of this image."""
        copies = [one for one in self.nameless or () if one.is_of(own.image)]
        index, planned = self.configuration.index, plan_platforms(own.image, self.configuration)
        has_others = not index.makes_v1 or has_v1(source, planned, index.settings)
        for one in copies:
            output = open_image(self.repository, str(one.digest))
            if has_others and has_v2(output, own.image, planned, index.settings):
                return replace(own, copy=one, has_promised=True)
        return replace(own, copy=copies[0] if copies else None)

    def _state(self, decision: Decision, found: _Found) -> IndexState:
        """Name what there is. The decision knows what is meant; see `decide`."""
        versions = [found.versions_of(one) for one in found.platforms]
        if found.problem:
            return IndexState.BROKEN
        if decision.reason is ImageReason.ALREADY_INDEXED or found.has_promised:
            return IndexState.INDEXED
        if decision.action is not Action.INDEX:
            return IndexState.INDEXED if any(versions) else IndexState.LEFT_OUT
        if found.has_old_copy:
            return IndexState.OUTDATED
        meant = {plan.digest for plan in decision.platforms if plan.reason is None}
        versions = [found.versions_of(one) for one in found.platforms if one.image.descriptor.digest in meant]
        return self._state_of_meant(versions)

    def _state_of_meant(self, versions: Sequence[frozenset[IndexVersion]]) -> IndexState:
        """Name the state of an image by the versions that each platform has that is meant to be indexed."""
        wanted = self.configuration.index.versions
        if all(wanted <= there for there in versions):
            return IndexState.OTHER_SETTINGS
        if any(wanted & there for there in versions):
            return IndexState.PARTLY
        if self.nameless is None and IndexVersion.V2 in wanted:
            return IndexState.UNKNOWN
        return IndexState.V1_ONLY if any(versions) and IndexVersion.V2 in wanted else IndexState.MISSING


def _listed_referrers(listed: Sequence[Listed]) -> FindReferrer:
    """Look indexes of version 1 up in the list: ECR's quota for referrers is a few requests per second.

    A list without subjects, as of something that only looks like ECR, does not tell; then the registry is asked.
    """
    indexes = [one for one in listed if one.artifact_type == media_types.SOCI_INDEX_V1]
    if any(one.subject is None for one in indexes):
        return ask_referrers
    found = {one.subject: one.digest for one in indexes}
    return lambda _, image: found.get(image)


def _find_nameless(
    inventory: Inventory, repository: str, configuration: Configuration, listed: Sequence[Listed]
) -> Sequence[ConvertedImage] | None:
    """Read the image indexes that have no tag, if that is where the settings put SOCI-enabled images."""
    if configuration.tagging.policy is not TagPolicy.DIGEST_ONLY or not configuration.index.makes_v2:
        return ()
    if not inventory.has_api:
        return None
    untagged = [one for one in listed if not one.tags and media_types.is_index(one.media_type)]
    untagged.sort(key=lambda one: one.pushed_at.timestamp() if one.pushed_at else 0.0, reverse=True)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = pool.map(
            lambda one: find_converted(inventory.open_image, repository, str(one.digest)), untagged
        )
        return [copy for copy in found if copy is not None]


def _orphan(blank: ImageStatus, copy: ConvertedImage) -> ImageStatus:
    return replace(
        blank,
        state=IndexState.ORPHAN,
        platforms={str(one.image.platform): one.versions for one in copy.platforms},
        index_tag=copy.tag,
        index_digest=copy.digest,
        size_bytes=max((image_size_bytes(one.image.manifest) for one in copy.platforms), default=None),
    )
