"""The platforms of an image: which are indexed, with which layers, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from soci.build.plan import PlannedLayer, plan_layers
from soci.errors import NotInImage
from soci.image.documents import Image, PlatformImage, Platforms, choose_images
from soci.index.classify import Content, classify_manifest
from soci.oci.digest import Digest
from soci.reasons import LeftOut
from soci.service.filter.rules import Rejection, evaluate_platform
from soci.service.filter.start_profile import NO_PROFILE, ChosenProfile, ProfileFinder
from soci.service.layer_messages import LayerItem
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration

_MOST_TELLING = (
    ImageReason.NO_LAYER_TO_INDEX,
    ImageReason.IMAGE_TOO_SMALL,
    ImageReason.IMAGE_TOO_LARGE,
    ImageReason.ARCHITECTURE_EXCLUDED,
    ImageReason.NOT_LINUX,
    ImageReason.NOT_AN_IMAGE,
)
"""Reasons of platforms, nearest to an index first. The first one that a platform has is the image's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One platform's image that is to be indexed, with a decision for each of its layers."""

    image: PlatformImage
    layers: tuple[PlannedLayer, ...]
    profile: Digest | None = None
    """The digest of the start profile that decides the prefetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPlatform:
    """One platform's image: a decision for each of its layers, or why the platform is not indexed."""

    image: PlatformImage
    layers: tuple[PlannedLayer, ...] = ()
    rejection: Rejection | None = None
    profile: ChosenProfile = NO_PROFILE

    @property
    def items(self) -> tuple[LayerItem, ...]:
        """The layers to index, in the image's order."""
        return tuple(
            LayerItem(digest=layer.descriptor.digest, size=layer.descriptor.size, compression=layer.decision)
            for layer in self.layers
            if not isinstance(layer.decision, LeftOut)
        )


def evaluate_platforms(image: Image, configuration: Configuration) -> list[EvaluatedPlatform]:
    """Evaluate each platform of an image by the rules, and plan its layers."""
    try:
        chosen = choose_images(image, Platforms.ALL)
    except NotInImage:
        chosen = ()
    return [_evaluate(one, configuration) for one in chosen]


def with_profiles(platforms: Sequence[EvaluatedPlatform], profiles: ProfileFinder) -> list[EvaluatedPlatform]:
    """Add the start profiles of the platforms that are to be indexed. Raises `SourceError`."""
    return [one if one.rejection else replace(one, profile=profiles.find(one.image)) for one in platforms]


def plan_platforms(
    image: Image, configuration: Configuration, profiles: ProfileFinder | None = None
) -> list[PlannedImage]:
    """Return the platforms of an image that are to be indexed, with a decision for each of their layers.

    Start profiles are looked for only if `profiles` says where.
    """
    platforms = evaluate_platforms(image, configuration)
    return planned_images(with_profiles(platforms, profiles) if profiles else platforms)


def planned_images(platforms: Sequence[EvaluatedPlatform]) -> list[PlannedImage]:
    """Return the platforms that are to be indexed."""
    return [
        PlannedImage(
            image=one.image,
            layers=one.layers,
            profile=one.profile.profile.digest if one.profile.profile else None,
        )
        for one in platforms
        if one.rejection is None
    ]


def most_telling(platforms: Sequence[EvaluatedPlatform]) -> Rejection:
    """Return why an image is not indexed of which no platform is."""
    return min(
        (one.rejection for one in platforms if one.rejection),
        key=lambda rejection: _MOST_TELLING.index(rejection.reason),
        default=Rejection(
            reason=ImageReason.NOT_AN_IMAGE, detail="an index without an image that is at hand"
        ),
    )


def plan_index(request: ImageRequest, platforms: Sequence[EvaluatedPlatform]) -> Decision:
    """Return the decision to index platforms. Each layer is listed once, the largest first, since it takes longest."""
    layers = sorted(
        {item for one in platforms for item in one.items},
        key=lambda item: (-item.size, item.digest, item.compression),
    )
    return Decision(
        action=Action.INDEX,
        request=request,
        layers=tuple(layers),
        platforms=describe_platforms(platforms, {item: number for number, item in enumerate(layers)}),
    )


def describe_platforms(
    platforms: Sequence[EvaluatedPlatform], numbers: Mapping[LayerItem, int]
) -> tuple[PlatformPlan, ...]:
    """Describe platforms for a decision, whose layers have these numbers."""
    return tuple(
        PlatformPlan(
            platform=str(one.image.platform),
            digest=one.image.descriptor.digest,
            layers=tuple(numbers[item] for item in one.items),
            left_out=Counter(
                layer.decision.reason for layer in one.layers if isinstance(layer.decision, LeftOut)
            ),
            reason=one.rejection.reason if one.rejection else None,
            profile=one.profile.profile,
            profile_problem=one.profile.problem,
        )
        for one in platforms
    )


def _evaluate(one: PlatformImage, configuration: Configuration) -> EvaluatedPlatform:
    if classify_manifest(one.manifest) is not Content.IMAGE:
        return EvaluatedPlatform(image=one, rejection=Rejection(reason=ImageReason.NOT_AN_IMAGE))
    if rejection := evaluate_platform(one, configuration.rules):
        return EvaluatedPlatform(image=one, rejection=rejection)
    layers = plan_layers(one.manifest, configuration.index.settings)
    rejection = None
    if all(isinstance(layer.decision, LeftOut) for layer in layers):
        rejection = Rejection(reason=ImageReason.NO_LAYER_TO_INDEX, detail=f"{len(layers)} layers")
    return EvaluatedPlatform(image=one, layers=layers, rejection=rejection)
