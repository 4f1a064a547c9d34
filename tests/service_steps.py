"""The states of a workflow, run one after the other on any place, with JSON between them as in the deployed one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soci.build.plan import plan_layers
from soci.image.documents import PlatformImage, Platforms, choose_images, fetch_image
from soci.oci.digest import Digest
from soci.places.layout.oci_layout import OciLayout
from soci.places.ports import ImageOpener, ImageStore
from soci.reasons import LeftOut
from soci.service.layer.index_layer import index_one_layer
from soci.service.layer_messages import LayerItem, LayerJob
from soci.service.messages import Action, Decision, ImageRequest, PlatformPlan, Published, PublishJob
from soci.service.outcomes import ImageReason
from soci.service.publish.publish_image import publish_image
from soci.service.settings.configuration import Configuration
from tests.builders import BUILD_TOOL


class Layouts:
    """Repositories that are OCI layouts below a directory."""

    def __init__(self, directory: Path, kind: type[OciLayout] = OciLayout) -> None:
        self._directory = directory
        self._kind = kind

    def __call__(self, repository: str, reference: str) -> ImageStore:
        path = self._directory / repository
        if ":" in reference:
            return self._kind(path, digest=Digest.parse(reference))
        return self._kind(path, tag=reference)


def configured(*, tagging: Mapping[str, Any] | None = None, **index: Any) -> Configuration:
    """A configuration for small images; keywords are those of the section `index`."""
    small = {
        "min_layer_size_bytes": 0,
        "span_size_bytes": 65_536,
        "build_tool_identifier": BUILD_TOOL,
        "multi_member_gzip": "index",
    }
    document = {"index": {**small, **index}, "tagging": dict(tagging or {})}
    return Configuration.from_document(document)


def plan_image(
    open_image: ImageOpener,
    configuration: Configuration,
    request: ImageRequest,
    *,
    platforms: Sequence[str] | None = None,
) -> Decision:
    """Plan an image's layers by the rules on layers alone; platforms that are not named are left out."""
    source = open_image(request.repository, request.tag or str(request.digest))
    image = fetch_image(source)
    items: dict[Digest, LayerItem] = {}
    planned: list[tuple[PlatformImage, tuple[Digest, ...], ImageReason | None]] = []
    for one in choose_images(image, Platforms.ALL):
        wanted = [
            (layer.descriptor, layer.decision)
            for layer in plan_layers(one.manifest, configuration.index.settings)
            if not isinstance(layer.decision, LeftOut)
        ]
        if platforms is not None and str(one.platform) not in platforms:
            planned.append((one, (), ImageReason.ARCHITECTURE_EXCLUDED))
            continue
        for layer, decision in wanted:
            items[layer.digest] = LayerItem(digest=layer.digest, size=layer.size, compression=decision)
        reason = None if wanted else ImageReason.NO_LAYER_TO_INDEX
        planned.append((one, tuple(layer.digest for layer, _ in wanted), reason))
    layers = sorted(items.values(), key=lambda item: -item.size)
    places = {item.digest: place for place, item in enumerate(layers)}
    return Decision(
        action=Action.INDEX,
        request=ImageRequest(
            repository=request.repository, tag=request.tag, digest=image.root.digest, origin=request.origin
        ),
        layers=tuple(layers),
        platforms=tuple(
            PlatformPlan(
                platform=str(one.platform),
                digest=one.descriptor.digest,
                layers=tuple(places[digest] for digest in digests),
                reason=reason,
            )
            for one, digests, reason in planned
        ),
    )


def index_all(open_image: ImageOpener, configuration: Configuration, decision: Decision) -> PublishJob:
    """Index the layers of a decision, as the map over them does."""
    state = through_json(decision.to_document())
    image = {"repository": state["repository"], "digest": state["digest"]}
    state["layers"] = [
        index_one_layer(
            LayerJob.from_document({"image": image, "layer": item}), configuration, open_image
        ).to_document()
        for item in state["layers"]
    ]
    return PublishJob.from_document(through_json(state))


def run_service(
    open_image: ImageOpener,
    configuration: Configuration,
    *,
    repository: str = "app",
    tag: str | None = "latest",
    digest: Digest | None = None,
    platforms: Sequence[str] | None = None,
) -> Published:
    """Plan, index and publish an image."""
    request = ImageRequest(repository=repository, tag=tag, digest=digest)
    decision = plan_image(open_image, configuration, request, platforms=platforms)
    return publish_image(index_all(open_image, configuration, decision), configuration, open_image)


def through_json(document: object) -> Any:
    """A document as the next state gets it."""
    return json.loads(json.dumps(document))
