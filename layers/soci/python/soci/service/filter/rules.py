"""The rules of a deployment on names, platforms and sizes. All of it is pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from soci.image.documents import PlatformImage
from soci.oci import media_types
from soci.oci.manifest import ImageManifest
from soci.oci.reference import MAX_TAG_LENGTH
from soci.service.messages import Action, Decision, ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, NamePatterns, Rules, UntaggedImages


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an image or a platform is not indexed."""

    reason: ImageReason
    detail: str = ""
    """The case: a name, a size and its limit."""

    def skip(self, request: ImageRequest) -> Decision:
        """Return the decision to skip an image for this reason."""
        return Decision(action=Action.SKIP, request=request, reason=self.reason, detail=self.detail)


def matches(name: str, patterns: NamePatterns) -> bool:
    """Tell whether a name matches a pattern to include and no pattern to exclude."""
    return any(fnmatchcase(name, pattern) for pattern in patterns.include) and not any(
        fnmatchcase(name, pattern) for pattern in patterns.exclude
    )


def evaluate_names(request: ImageRequest, configuration: Configuration) -> Rejection | None:
    """Reject an image by its request alone: by names, and by the type that an event may give.

    The rule on untagged images is for events. A person who names a digest means that image.
    """
    rules, tag = configuration.rules, request.tag
    output_tag = configuration.output_tag(tag) or ""
    if not matches(request.repository, rules.repositories):
        return Rejection(reason=ImageReason.REPOSITORY_EXCLUDED, detail=request.repository)
    if tag is not None and not matches(tag, rules.tags):
        return Rejection(reason=ImageReason.TAG_EXCLUDED, detail=tag)
    if media_types.is_soci_config(request.artifact_type):
        return Rejection(reason=ImageReason.OWN_ARTIFACT, detail="a SOCI index")
    if tag is None and request.is_event and rules.untagged_images is UntaggedImages.LEAVE_OUT:
        return Rejection(reason=ImageReason.UNTAGGED)
    if len(output_tag) > MAX_TAG_LENGTH:
        return Rejection(
            reason=ImageReason.TAG_TOO_LONG,
            detail=f"{len(output_tag)} characters, a tag has {MAX_TAG_LENGTH} at most",
        )
    return None


def evaluate_platform(one: PlatformImage, rules: Rules) -> Rejection | None:
    """Reject one platform's image by its system, architecture or size."""
    platform = one.platform.normalized()
    size_bytes = image_size_bytes(one.manifest)
    if platform.os != "linux":
        return Rejection(reason=ImageReason.NOT_LINUX, detail=str(platform))
    if platform.architecture not in rules.architectures:
        return Rejection(reason=ImageReason.ARCHITECTURE_EXCLUDED, detail=str(platform))
    if size_bytes < rules.min_image_size_bytes:
        detail = f"{size_bytes} bytes, the minimum is {rules.min_image_size_bytes}"
        return Rejection(reason=ImageReason.IMAGE_TOO_SMALL, detail=detail)
    if rules.max_image_size_bytes is not None and size_bytes > rules.max_image_size_bytes:
        detail = f"{size_bytes} bytes, the maximum is {rules.max_image_size_bytes}"
        return Rejection(reason=ImageReason.IMAGE_TOO_LARGE, detail=detail)
    return None


def image_size_bytes(manifest: ImageManifest) -> int:
    """Add up the compressed layers, each content once, as they are fetched and stored."""
    return sum({layer.digest: layer.size for layer in manifest.layers or ()}.values())
