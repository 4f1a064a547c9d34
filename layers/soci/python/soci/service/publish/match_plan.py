"""The layers of a message must be those that the image's plan asks for now.

A message may be stale: the functions may have been deployed with other settings while the layers were indexed. The
index would then be wrong, so a mismatch is an error that names the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from soci.build.assemble import LayerPart
from soci.build.plan import PlannedLayer, plan_layers
from soci.errors import InvalidDocument
from soci.image.documents import Image, PlatformImage, Platforms, choose_images
from soci.index.manifest import LayerZtoc
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.reasons import LeftOut
from soci.service.layer_messages import LayerOutcome
from soci.service.messages import PlatformPlan, PublishJob
from soci.settings import IndexSettings

_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLayers:
    """One platform's image, and the outcome of each layer that was planned."""

    image: PlatformImage
    outcomes: Mapping[Digest, LayerOutcome]

    def parts(self, settings: IndexSettings) -> tuple[LayerPart, ...]:
        """Return the layers in the image's order.

        Raises:
            InvalidDocument: a zstd layer has no recompressed layer, or another layer has one.
        """
        return tuple(self._part(layer) for layer in plan_layers(self.image.manifest, settings))

    def _part(self, planned: PlannedLayer) -> LayerPart:
        layer = planned.descriptor
        if isinstance(planned.decision, LeftOut):
            return LayerPart(descriptor=layer, outcome=planned.decision)
        outcome = self.outcomes[layer.digest]
        if outcome.left_out is not None:
            return LayerPart(descriptor=layer, outcome=outcome.left_out)
        if outcome.ztoc is None:
            raise _invalid(f"layer {layer.digest} has neither a zTOC nor a reason")
        recompressed = outcome.recompressed
        if (recompressed is not None) != planned.is_recompressed:
            raise _invalid(f"layer {layer.digest} has {'a' if recompressed else 'no'} recompressed layer")
        described = layer if recompressed is None else recompressed.describe(layer)
        ztoc = Descriptor(media_type=media_types.ZTOC, digest=outcome.ztoc, size=outcome.size)
        return LayerPart(
            descriptor=described,
            outcome=LayerZtoc(layer=described, ztoc=ztoc, needs_xattrs=True),  # until the zTOC has been read
            recompressed=recompressed,
        )


def match_platforms(image: Image, job: PublishJob, settings: IndexSettings) -> tuple[PlatformLayers, ...]:
    """Find the images of the platforms that were planned, with the outcomes of their layers.

    Raises:
        InvalidDocument: the image has no such platform, or its plan asks for other layers; the message names them.
    """
    plans = [plan for plan in job.decision.platforms if plan.reason is None]
    chosen = choose_images(image, Platforms.ALL)
    matched = tuple(_match(plan, chosen, job.outcomes, settings) for plan in plans)
    used = {number for plan in plans for number in plan.layers}
    unused = [outcome.layer for number, outcome in enumerate(job.outcomes) if number not in used]
    if unused:
        raise _invalid(_names("layers that no platform has", unused))
    return matched


def layer_bytes(platforms: Iterable[PlatformLayers]) -> int:
    """Return the compressed bytes of all layers of the platforms, each content once, including layers left out."""
    layers = (layer for one in platforms for layer in one.image.manifest.layers or ())
    return sum({layer.digest: layer.size for layer in layers}.values())


def streamed_bytes(platforms: Iterable[PlatformLayers]) -> tuple[int, int]:
    """Return how many bytes of the layers were streamed, and the bytes of the layers whose zTOCs were reused."""
    sizes = {
        layer.digest: (layer.size, one.outcomes[layer.digest])
        for one in platforms
        for layer in one.image.manifest.layers or ()
        if layer.digest in one.outcomes
    }
    streamed = sum(outcome.streamed_bytes(size) for size, outcome in sizes.values())
    return streamed, sum(size for size, outcome in sizes.values() if outcome.reused)


def _match(
    plan: PlatformPlan,
    chosen: Sequence[PlatformImage],
    outcomes: Sequence[LayerOutcome],
    settings: IndexSettings,
) -> PlatformLayers:
    found = [
        one for one in chosen if (one.descriptor.digest, str(one.platform)) == (plan.digest, plan.platform)
    ]
    if not found:
        raise _invalid(f"the image has no {plan.platform} with manifest {plan.digest}")
    [image] = found
    layers = plan_layers(image.manifest, settings)
    wanted = [one.descriptor.digest for one in layers if not isinstance(one.decision, LeftOut)]
    named = [outcomes[number] for number in plan.layers]
    given = [outcome.layer for outcome in named]
    if given != wanted:
        problems = (
            _names("without an outcome", set(wanted) - set(given)),
            _names("that the plan does not ask for", set(given) - set(wanted)),
        )
        what = ", ".join(filter(None, problems)) or "in another order"
        raise _invalid(f"{plan.platform}, {plan.digest}: layers {what}")
    return PlatformLayers(image=image, outcomes={outcome.layer: outcome for outcome in named})


def _names(what: str, digests: Iterable[Digest]) -> str:
    names = sorted(map(str, digests))
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return f"{what}: {', '.join(names[:_NAMED_AT_MOST])}{more}" if names else ""


def _invalid(what: str) -> InvalidDocument:
    return InvalidDocument(f"publish job: {what}; index the image again")
