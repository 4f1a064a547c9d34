"""Is an image to be indexed, and which of its layers? The first rule that rejects the image gives the reason.

names         repository, tag, and the types that an event gives              rules
image         it exists, the tag of an event still names it, it is an image   find_image
origin        indexing did not make it                                        soci.index.classify
platforms     system, architecture and size of each; then each layer          platforms
profiles      which start profile decides the prefetch; it rejects nothing    start_profile
up to date    no index that was made with the same settings is there          up_to_date
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from soci.image.documents import Image, TooManyManifests, fetch_image
from soci.index.classify import LIMITS, has_own_index, is_converted
from soci.places.ports import SourceOpener
from soci.service.filter.find_image import GONE, FoundImage, find_image, names_digest
from soci.service.filter.platforms import (
    EvaluatedPlatform,
    PlannedImage,
    describe_platforms,
    evaluate_platforms,
    most_telling,
    plan_index,
    planned_images,
    with_profiles,
)
from soci.service.filter.promised_tag import promised_tag, why_not_promised
from soci.service.filter.rules import Rejection, evaluate_names
from soci.service.filter.start_profile import ProfileFinder
from soci.service.filter.up_to_date import has_v1, has_v2
from soci.service.layer_messages import OUTCOME_BYTES
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration

STATE_LIMIT_BYTES = 256 * 1024
"""The largest input or output of a state (Step Functions, service quotas)."""


def decide(request: ImageRequest, configuration: Configuration, open_image: SourceOpener) -> Decision:
    """Decide what to do about an image.

    Raises:
        IntegrityError: a document of the image is corrupt.
        NotInImage: a person named an image that does not exist. For an event or a re-index this is a decision.
        SourceError: the registry cannot be read.
    """
    return _Filter(configuration=configuration, open_image=open_image).decide(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """The settings of a deployment, and its registry."""

    configuration: Configuration
    open_image: SourceOpener

    def decide(self, request: ImageRequest) -> Decision:
        if rejection := evaluate_names(request, self.configuration):
            return rejection.skip(request)
        found = find_image(request, self.open_image)
        if isinstance(found, Decision):
            return found
        try:
            image = fetch_image(found.source, found.root, limits=LIMITS)
        except TooManyManifests as error:
            rejection = Rejection(reason=ImageReason.PLAN_TOO_LARGE, detail=str(error))
            return self._index_nothing(found.request, rejection)
        except GONE as error:
            return Rejection(reason=ImageReason.IMAGE_GONE, detail=str(error)).skip(found.request)
        if rejection := self._evaluate_origin(found, image):
            return rejection.skip(found.request)
        return self._decide_on_platforms(found, image)

    def _evaluate_origin(self, found: FoundImage, image: Image) -> Rejection | None:
        """Reject what indexing made: SOCI-enabled images, and images under the tag that was promised to them.

        A person may ask for a SOCI-enabled image under a tag of its own, because it may need to be made again.
        """
        original = self.configuration.original_tag(found.request.tag)
        if has_own_index(image, found.source):
            is_output = found.request.is_event or original is not None
            detail = "an image with a SOCI index"
            return Rejection(reason=ImageReason.OWN_ARTIFACT, detail=detail) if is_output else None
        if original is not None and self._names(original, found.request):
            return Rejection(reason=ImageReason.OWN_ARTIFACT, detail=f"the image of {original}")
        return None

    def _decide_on_platforms(self, found: FoundImage, image: Image) -> Decision:
        request, platforms = found.request, evaluate_platforms(image, self.configuration)
        if not planned_images(platforms):
            return self._index_nothing(request, most_telling(platforms), platforms)
        platforms = with_profiles(platforms, self._profiles_of(found))
        if not request.force and self._is_up_to_date(found, image, planned_images(platforms)):
            problem = next((one.profile.problem for one in platforms if one.profile.problem), "")
            return Rejection(reason=ImageReason.ALREADY_INDEXED, detail=problem).skip(request)
        decision = plan_index(request, platforms)
        too_large = _evaluate_size(decision)
        return self._index_nothing(request, too_large) if too_large else decision

    def _profiles_of(self, found: FoundImage) -> ProfileFinder:
        return ProfileFinder(
            repository=found.request.repository,
            tag=found.request.tag,
            source=found.source,
            open_image=self.open_image,
            index=self.configuration.index,
        )

    def _index_nothing(
        self, request: ImageRequest, rejection: Rejection, platforms: Sequence[EvaluatedPlatform] = ()
    ) -> Decision:
        """Decide on an image that is not indexed: set the promised tag if it is not set, else skip the image."""
        decision = self._tag_or_skip(request, rejection, describe_platforms(platforms, {}))
        too_large = _evaluate_size(decision)
        return self._tag_or_skip(request, too_large) if too_large else decision

    def _tag_or_skip(
        self, request: ImageRequest, rejection: Rejection, platforms: tuple[PlatformPlan, ...] = ()
    ) -> Decision:
        decision = replace(rejection.skip(request), platforms=platforms)
        if rejection.reason is ImageReason.NOT_AN_IMAGE:
            return decision
        tag = promised_tag(request, self.configuration)
        if tag is None:
            details = (rejection.detail, why_not_promised(request, self.configuration))
            return replace(decision, detail="; ".join(filter(None, details)))
        if self._names(tag, request):
            return replace(decision, detail=f"{rejection.detail}; {tag} names the image already")
        return replace(decision, action=Action.TAG)

    def _names(self, tag: str, request: ImageRequest) -> bool:
        """Tell whether another tag of the repository names the image of a request."""
        return names_digest(self.open_image(request.repository, tag), request.digest)

    def _is_up_to_date(self, found: FoundImage, image: Image, planned: Sequence[PlannedImage]) -> bool:
        """Tell whether every index that the settings ask for is there, under the tag of the output."""
        index, request = self.configuration.index, found.request
        if index.makes_v1 and not has_v1(found.source, planned, index.settings):
            return False
        if not index.makes_v2:
            return True
        tag = self.configuration.output_tag(request.tag)
        if tag is None or tag == request.tag:  # only the image itself can be the output
            return is_converted(image) and has_v2(found.source, image, planned, index.settings)
        output = self.open_image(request.repository, tag)
        return has_v2(output, image, planned, index.settings)


def _evaluate_size(decision: Decision) -> Rejection | None:
    """Reject a decision that is too large for a state, or whose layer outcomes will be.

    Only a harmful image is so large, or one for a dozen platforms of a hundred layers each.
    """
    document = json.dumps(replace(decision, layers=()).to_document(), separators=(",", ":"))
    outcomes_bytes = sum(OUTCOME_BYTES[layer.compression] for layer in decision.layers)
    if len(document) + outcomes_bytes <= STATE_LIMIT_BYTES:
        return None
    detail = f"{len(decision.layers)} layers to index, {len(decision.platforms)} platforms"
    return Rejection(reason=ImageReason.PLAN_TOO_LARGE, detail=detail)
