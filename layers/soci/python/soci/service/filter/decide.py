"""Is this image to be indexed, and which of its layers? The first rule that leaves it out gives the reason.

names        what the request alone tells: repository, tag, types of an event          rules.py
there?       the image exists, and the tag of an event still names it
content      an image, and none that indexing made                                     recognise.py
platforms    system, architecture, size of each; then each layer by its description    rules.py, soci.build.plan
done?        an index with the same settings is there                                  existing.py
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from soci.build.plan import PlannedLayer, plan_layers
from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, TooManyManifests, choose_images, fetch_image
from soci.index.classify import (
    LIMITS,
    Content,
    has_own_index,
    is_soci_enabled,
    recognise,
    recognise_manifest,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageSource
from soci.reasons import LeftOut
from soci.service.filter.rules import (
    Rejection,
    evaluate_names,
    evaluate_platform,
    original_tag,
    promised_tag,
    why_not_promised,
)
from soci.service.filter.up_to_date import PlannedImage, has_v1, has_v2
from soci.service.layer_messages import OUTCOME_BYTES, LayerItem
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration

SourceOpener = Callable[[str, str], ImageSource]
"""As `ports.ImageOpener`, for places that may be read only."""

_GONE = (NotInImage, BlobMissing)
"""What a place says of an image that was deleted or archived, whole or in part."""

STATE_LIMIT_BYTES = 256 * 1024
"""What the input or output of a state may have (Step Functions, service quotas)."""

_MOST_TELLING = (
    ImageReason.NO_LAYER_TO_INDEX,
    ImageReason.IMAGE_TOO_SMALL,
    ImageReason.IMAGE_TOO_LARGE,
    ImageReason.ARCHITECTURE_EXCLUDED,
    ImageReason.NOT_LINUX,
    ImageReason.NOT_AN_IMAGE,
)
"""Of the reasons of several platforms, the image's is that of the platform that came nearest to being indexed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One platform's image: a plan for its layers, or why it is left out."""

    image: PlatformImage
    layers: tuple[PlannedLayer, ...] = ()
    verdict: Rejection | None = None

    @property
    def items(self) -> tuple[LayerItem, ...]:
        """The layers to index, in the image's order."""
        return tuple(
            LayerItem(
                digest=layer.descriptor.digest,
                size=layer.descriptor.size,
                compression=layer.decision,
            )
            for layer in self.layers
            if not isinstance(layer.decision, LeftOut)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The image that a request means."""

    request: ImageRequest
    """With its digest."""
    source: ImageSource
    image: Image


def decide(request: ImageRequest, configuration: Configuration, open_image: SourceOpener) -> Decision:
    """Decide what to do about an image.

    Raises:
        IntegrityError: a document of the image is broken.
        NotInImage: a person named an image that is not there. For an event, or in a re-index, that is a decision.
        SourceError: the registry cannot be read.
    """
    if verdict := evaluate_names(request, configuration):
        return _skip(request, verdict)
    found = _find(request, configuration, open_image)
    return found if isinstance(found, Decision) else _decide_on_image(found, configuration, open_image)


def _find(request: ImageRequest, configuration: Configuration, open_image: SourceOpener) -> _Found | Decision:
    """Fetch the image, or say why there is none to decide on."""
    source = open_image(request.repository, request.tag or str(request.digest))
    try:
        root = source.fetch_root()
        content = recognise(root, source.fetch_manifest(root))
    except InvalidDocument as error:
        return _skip(request, Rejection(reason=ImageReason.NOT_AN_IMAGE, detail=str(error)))
    except _GONE as error:
        if request.is_by_hand:
            raise NotInImage(str(error)) from None
        return _skip(request, Rejection(reason=ImageReason.IMAGE_GONE, detail=str(error)))
    request = replace(request, digest=request.digest or root.digest)
    if verdict := _judge_root(request, root, content):
        return _skip(request, verdict)
    try:
        return _Found(request=request, source=source, image=fetch_image(source, root, limits=LIMITS))
    except TooManyManifests as error:
        verdict = Rejection(reason=ImageReason.PLAN_TOO_LARGE, detail=str(error))
        return _index_nothing(request, verdict, configuration, open_image)
    except _GONE as error:
        return _skip(request, Rejection(reason=ImageReason.IMAGE_GONE, detail=str(error)))


def _judge_root(request: ImageRequest, root: Descriptor, content: Content) -> Rejection | None:
    """Say why what a request names by now is nothing to decide on."""
    if request.digest != root.digest:
        return Rejection(reason=ImageReason.SUPERSEDED, detail=f"{request.tag} names {root.digest}")
    if content is Content.SOCI_INDEX:
        return Rejection(reason=ImageReason.OWN_ARTIFACT, detail="a SOCI index")
    if content is not Content.IMAGE:
        return Rejection(reason=ImageReason.NOT_AN_IMAGE, detail=f"an {content.name.lower()}")
    return None


def _decide_on_image(found: _Found, configuration: Configuration, open_image: SourceOpener) -> Decision:
    if verdict := _judge_origin(found, configuration, open_image):
        return _skip(found.request, verdict)
    judged = [_judge_image(one, configuration) for one in _platforms(found.image)]
    planned = _planned(judged)
    if not planned:
        return _decide_on_nothing(found.request, configuration, judged, open_image)
    if not found.request.force and _is_done(found, configuration, planned, open_image):
        return _skip(found.request, Rejection(reason=ImageReason.ALREADY_INDEXED))
    plan = _plan(found.request, judged)
    misfit = _judge_plan(plan)
    return _index_nothing(found.request, misfit, configuration, open_image) if misfit else plan


def _judge_origin(found: _Found, configuration: Configuration, open_image: SourceOpener) -> Rejection | None:
    """Recognise what was made here: SOCI-enabled images, and images whose tag was set for want of an index.

    Only a person may ask for an image that is SOCI-enabled, under its own tag: it may have to be made anew.
    """
    original = original_tag(found.request, configuration)
    if has_own_index(found.image, found.source):
        if found.request.is_event or original is not None:
            return Rejection(reason=ImageReason.OWN_ARTIFACT, detail="an image with a SOCI index")
        return None
    if original is not None and _names(
        open_image(found.request.repository, original), found.image.root.digest
    ):
        return Rejection(reason=ImageReason.OWN_ARTIFACT, detail=f"the image of {original}")
    return None


def _names(source: ImageSource, digest: Digest | None) -> bool:
    try:
        return source.fetch_root().digest == digest
    except (*_GONE, InvalidDocument):
        return False


def _platforms(image: Image) -> Sequence[PlatformImage]:
    try:
        return choose_images(image, Platforms.ALL)
    except NotInImage:
        return ()


def plan_platforms(image: Image, configuration: Configuration) -> list[PlannedImage]:
    """Return the platforms of an image that are to be indexed, with a decision for each of their layers."""
    return _planned([_judge_image(one, configuration) for one in _platforms(image)])


def _planned(judged: Sequence[_Judged]) -> list[PlannedImage]:
    return [PlannedImage(image=one.image, layers=one.layers) for one in judged if one.verdict is None]


def _judge_image(one: PlatformImage, configuration: Configuration) -> _Judged:
    if recognise_manifest(one.manifest) is not Content.IMAGE:
        return _Judged(image=one, verdict=Rejection(reason=ImageReason.NOT_AN_IMAGE))
    if verdict := evaluate_platform(one, configuration.rules):
        return _Judged(image=one, verdict=verdict)
    layers = plan_layers(one.manifest, configuration.index.settings)
    verdict = None
    if all(isinstance(layer.decision, LeftOut) for layer in layers):
        verdict = Rejection(reason=ImageReason.NO_LAYER_TO_INDEX, detail=f"{len(layers)} layers")
    return _Judged(image=one, layers=layers, verdict=verdict)


def _decide_on_nothing(
    request: ImageRequest, configuration: Configuration, judged: Sequence[_Judged], open_image: SourceOpener
) -> Decision:
    """Decide on an image of which no platform is indexed: skip it, or set the tag that was promised."""
    verdicts = [one.verdict for one in judged if one.verdict]
    verdict = min(
        verdicts,
        key=lambda one: _MOST_TELLING.index(one.reason),
        default=Rejection(
            reason=ImageReason.NOT_AN_IMAGE, detail="an index without an image that is at hand"
        ),
    )
    platforms = tuple(_platform_plan(one, {}) for one in judged)
    decision = _index_nothing(request, verdict, configuration, open_image, platforms)
    misfit = _judge_plan(decision)
    return _index_nothing(request, misfit, configuration, open_image) if misfit else decision


def _index_nothing(
    request: ImageRequest,
    verdict: Rejection,
    configuration: Configuration,
    open_image: SourceOpener,
    platforms: tuple[PlatformPlan, ...] = (),
) -> Decision:
    """Set the tag that was promised all the same; skip the image if there is none, or it is set."""
    decision = replace(_skip(request, verdict), platforms=platforms)
    if verdict.reason is ImageReason.NOT_AN_IMAGE:
        return decision
    tag = promised_tag(request, configuration)
    if tag is None:
        texts = (verdict.detail, why_not_promised(request, configuration))
        return replace(decision, detail="; ".join(filter(None, texts)))
    if _names(open_image(request.repository, tag), request.digest):
        return replace(decision, detail=f"{verdict.detail}; {tag} names the image already")
    return replace(decision, action=Action.TAG)


def _is_done(
    found: _Found, configuration: Configuration, planned: Sequence[PlannedImage], open_image: SourceOpener
) -> bool:
    """Tell whether every index that the settings ask for is there, under the tag that they promise."""
    index, tag = configuration.index, configuration.output_tag(found.request.tag)
    if index.makes_v1 and not has_v1(found.source, planned, index.settings):
        return False
    if not index.makes_v2:
        return True
    if tag in (
        None,
        found.request.tag,
    ):  # under no other tag than the one it has: it has to be the image itself
        return is_soci_enabled(found.image) and has_v2(found.source, found.image, planned, index.settings)
    return has_v2(open_image(found.request.repository, str(tag)), found.image, planned, index.settings)


def _skip(request: ImageRequest, verdict: Rejection) -> Decision:
    return Decision(action=Action.SKIP, request=request, reason=verdict.reason, detail=verdict.detail)


def _plan(request: ImageRequest, judged: Sequence[_Judged]) -> Decision:
    """Give the layers to index places, each content once, the largest first: it takes longest."""
    layers = sorted(
        {item for one in judged for item in one.items},
        key=lambda item: (-item.size, item.digest, item.compression),
    )
    places = {item: place for place, item in enumerate(layers)}
    return Decision(
        action=Action.INDEX,
        request=request,
        layers=tuple(layers),
        platforms=tuple(_platform_plan(one, places) for one in judged),
    )


def _platform_plan(one: _Judged, places: Mapping[LayerItem, int]) -> PlatformPlan:
    """Describe one platform of a decision."""
    left_out = [layer.decision.reason for layer in one.layers if isinstance(layer.decision, LeftOut)]
    return PlatformPlan(
        platform=str(one.image.platform),
        digest=one.image.descriptor.digest,
        layers=tuple(places[item] for item in one.items),
        left_out=Counter(left_out),
        reason=one.verdict.reason if one.verdict else None,
    )


def _judge_plan(decision: Decision) -> Rejection | None:
    """Say that no state can hold a decision, and later the outcomes of all its layers, if that is so.

    Only images made to do harm, or for a dozen platforms of a hundred layers each, have such plans.
    """
    document = json.dumps(replace(decision, layers=()).to_document(), separators=(",", ":"))
    outcomes_bytes = sum(OUTCOME_BYTES[layer.compression] for layer in decision.layers)
    if len(document) + outcomes_bytes <= STATE_LIMIT_BYTES:
        return None
    detail = f"{len(decision.layers)} layers to index, {len(decision.platforms)} platforms"
    return Rejection(reason=ImageReason.PLAN_TOO_LARGE, detail=detail)
