"""Predict how Fargate loads a container's image (ECS developer guide, "Fargate task definition differences")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soci.build.plan import plan_layers
from soci.errors import BlobMissing, IntegrityError, InvalidReference, NotInImage, RegistryError
from soci.image.documents import Image, fetch_image
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.reference import DEFAULT_TAG, RegistryRef, parse_reference
from soci.reasons import LeftOut
from soci.service.filter.rules import image_size_bytes
from soci.service.settings.configuration import Configuration
from soci.settings import IndexVersion
from soci.upkeep.check_task.definition import ContainerDefinition, TaskDefinition
from soci.upkeep.check_task.verdicts import Loading, TaskReason, Verdict
from soci.upkeep.inventory import Inventory
from soci.upkeep.status.find_indexes import PlatformFacts, find_converted, find_platforms

LATEST = "LATEST"
_FIRST_LAZY_VERSION = (1, 4, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The facts that a task definition does not contain."""

    configuration: Configuration
    """The settings of the index builder."""
    open_registry: Callable[[str], Inventory]
    platform_version: str = LATEST
    account_has_v1: bool = False
    """Whether the account used SOCI before version 2 existed: only such accounts can use version 1 indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Why:
    reason: TaskReason
    detail: str = ""
    loading: Loading = Loading.WHOLE


def evaluate_task(task: TaskDefinition, circumstances: Circumstances) -> Iterator[Verdict]:
    """Yield a verdict for each container. A registry that cannot be read gives a verdict, not an error."""
    for container in task.containers:
        why = _evaluate_task_settings(task, circumstances) or _evaluate_container(
            container, task, circumstances
        )
        if isinstance(why, str):
            yield Verdict(container=container.name, image=container.image, loading=Loading.LAZY, detail=why)
        else:
            yield Verdict(
                container=container.name,
                image=container.image,
                loading=why.loading,
                reason=why.reason,
                detail=why.detail,
            )


def _evaluate_task_settings(task: TaskDefinition, circumstances: Circumstances) -> _Why | None:
    """Say why the task rules out lazy loading for every image; None if it does not."""
    if not task.is_for_fargate:
        return _Why(reason=TaskReason.NOT_FARGATE, detail=", ".join(task.launch_types))
    if task.platform.os != "linux":
        return _Why(reason=TaskReason.WINDOWS)
    version = circumstances.platform_version
    if version != LATEST and tuple(map(int, version.split("."))) < _FIRST_LAZY_VERSION:
        return _Why(reason=TaskReason.PLATFORM_VERSION, detail=version)
    return None


def _evaluate_container(
    container: ContainerDefinition, task: TaskDefinition, circumstances: Circumstances
) -> _Why | str:
    """Say why an image is not loaded lazily, or how much of it is."""
    reference = _parse_image(container.image)
    if isinstance(reference, _Why):
        return reference
    registry = circumstances.open_registry(reference.host)
    if not registry.has_api:
        return _Why(reason=TaskReason.OTHER_REGISTRY, detail=reference.host)
    evaluation = _ImageEvaluation(
        reference=reference, registry=registry, task=task, circumstances=circumstances
    )
    try:
        return evaluation.evaluate()
    except (NotInImage, BlobMissing) as error:
        return _Why(reason=TaskReason.IMAGE_GONE, detail=str(error))
    except IntegrityError as error:
        return _Why(reason=TaskReason.BROKEN, detail=str(error))
    except RegistryError as error:
        return _Why(reason=TaskReason.UNREADABLE, detail=str(error), loading=Loading.UNSURE)


def _parse_image(image: str) -> RegistryRef | _Why:
    try:
        reference = parse_reference(image)
    except InvalidReference as error:
        return _Why(reason=TaskReason.INVALID_IMAGE, detail=str(error).partition("; accepted")[0])
    if isinstance(reference, RegistryRef):
        return reference
    return _Why(reason=TaskReason.INVALID_IMAGE, detail="not in a registry")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageEvaluation:
    """Evaluates one image in ECR for one task."""

    reference: RegistryRef
    registry: Inventory
    task: TaskDefinition
    circumstances: Circumstances

    def evaluate(self) -> _Why | str:
        named = str(self.reference.digest or self.reference.tag or DEFAULT_TAG)
        source = self.registry.open_image(self.reference.repository, named)
        image = fetch_image(source)
        platforms = find_platforms(source, image)
        mine = next((one for one in platforms if one.platform.matches(self.task.platform)), None)
        if mine is None:
            there = ", ".join(str(one.platform) for one in platforms) or "none"
            detail = f"the task has {self.task.platform}, the image {there}"
            return _Why(reason=TaskReason.ARCHITECTURE_MISMATCH, detail=detail)
        if mine.problem:
            return _Why(reason=TaskReason.BROKEN, detail=mine.problem)
        usable = {IndexVersion.V2} | ({IndexVersion.V1} if self.circumstances.account_has_v1 else set())
        return (
            self._evaluate_indexed(mine) if mine.versions & usable else self._say_why(image, mine, platforms)
        )

    def _evaluate_indexed(self, mine: PlatformFacts) -> _Why | str:
        layers = _layers(mine)
        indexed = [layer for layer in layers if layer.digest in mine.layers_indexed]
        share = (
            f"{len(indexed)} of {len(layers)} layers, "
            f"{sum(layer.size for layer in indexed)} of {sum(layer.size for layer in layers)} bytes"
        )
        if not indexed:
            return _Why(reason=TaskReason.NO_LAYER_INDEXED, detail=share)
        if any(map(_is_zstd, layers)):
            return _Why(reason=TaskReason.ZSTD, detail=f"indexed: {share}", loading=Loading.UNSURE)
        return share

    def _say_why(self, image: Image, mine: PlatformFacts, platforms: tuple[PlatformFacts, ...]) -> _Why:
        """Return the most helpful reason why the task can use no index of the image."""
        if any(IndexVersion.V2 in one.versions for one in platforms):
            indexed = [str(one.platform) for one in platforms if IndexVersion.V2 in one.versions]
            return _Why(reason=TaskReason.OTHER_PLATFORM, detail=f"indexed: {', '.join(indexed)}")
        other_tag = self._find_converted_tag(image)
        if other_tag is not None:
            return _Why(reason=TaskReason.OTHER_TAG, detail=f"{self.reference.name}:{other_tag}")
        if IndexVersion.V1 in mine.versions:
            return _Why(reason=TaskReason.V1_ONLY)
        return self._say_why_not_indexed(mine)

    def _say_why_not_indexed(self, mine: PlatformFacts) -> _Why:
        configuration = self.circumstances.configuration
        zstd = [layer for layer in _layers(mine) if _is_zstd(layer)]
        if zstd:
            return _Why(reason=TaskReason.ZSTD, detail=f"{len(zstd)} of {len(_layers(mine))} layers")
        size_bytes = image_size_bytes(mine.image.manifest)
        if size_bytes < configuration.rules.min_image_size_bytes:
            detail = f"{size_bytes} bytes, the minimum is {configuration.rules.min_image_size_bytes}"
            return _Why(reason=TaskReason.IMAGE_TOO_SMALL, detail=detail)
        planned = plan_layers(mine.image.manifest, configuration.index.settings)
        if all(isinstance(layer.decision, LeftOut) for layer in planned):
            return _Why(reason=TaskReason.NO_LAYER_TO_INDEX, detail=f"{len(planned)} layers")
        return _Why(reason=TaskReason.NO_INDEX)

    def _find_converted_tag(self, image: Image) -> str | None:
        """Return the tag of the converted image that the service makes of an image; None if there is none."""
        repository, suffix = self.reference.repository, self.circumstances.configuration.tagging.suffix
        for tag in self._tags(image):
            converted = find_converted(self.registry.open_image, repository, tag + suffix)
            if converted is not None and converted.is_of(image):
                return converted.tag
        return None

    def _tags(self, image: Image) -> tuple[str, ...]:
        """Return the tags of the image. If the task names its digest, the repository is listed for them."""
        if self.reference.digest is None:
            return (self.reference.tag or DEFAULT_TAG,)
        listed = self.registry.fetch_images(self.reference.repository, only_tagged=True)
        return next((one.tags for one in listed if one.digest == image.root.digest), ())


def _layers(one: PlatformFacts) -> list[Descriptor]:
    """Return the distinct layers."""
    return list({layer.digest: layer for layer in one.image.manifest.layers or ()}.values())


def _is_zstd(layer: Descriptor) -> bool:
    return media_types.compression_of(layer.media_type) is Compression.ZSTD
