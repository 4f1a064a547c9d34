"""The rules of a deployment, as far as names, sizes and platforms tell. All of it is pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from soci.image.documents import PlatformImage
from soci.oci import media_types
from soci.oci.manifest import ImageManifest
from soci.oci.reference import MAX_TAG_LENGTH
from soci.service.messages import ImageRequest
from soci.service.outcomes import ImageReason
from soci.service.settings.configuration import Configuration, NamePatterns, Rules, TagPolicy, UntaggedImages

_SEPARATORS = "._-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why something is not indexed, and what in this case led to it."""

    reason: ImageReason
    detail: str = ""


def matches(name: str, patterns: NamePatterns) -> bool:
    """Tell whether a name matches one of the patterns to include and none of those to exclude."""
    return any(fnmatchcase(name, pattern) for pattern in patterns.include) and not any(
        fnmatchcase(name, pattern) for pattern in patterns.exclude
    )


def evaluate_names(request: ImageRequest, configuration: Configuration) -> Rejection | None:
    """Say why an image is left out, as far as the request alone tells: names, and the type that an event may give.

    The rule on untagged images is for those that arrive. Who names a digest by hand means that image.
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
    """Say why one platform's image is left out: another system or architecture, too small, too large."""
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


def promised_tag(request: ImageRequest, configuration: Configuration) -> str | None:
    """Return the tag to set on the image itself when nothing of it is indexed; None when there is no such promise.

    A tag that has the suffix already gets no such copy: copies of copies would go on for ever.
    """
    tag = request.tag
    if tag is None or not _promises_copies(configuration) or _has_suffix(tag, configuration.tagging.suffix):
        return None
    return configuration.output_tag(tag)


def why_not_promised(request: ImageRequest, configuration: Configuration) -> str:
    """Say of a tag that it gets no copy for what it looks like; "" if that is not why."""
    tag, suffix = request.tag, configuration.tagging.suffix
    if tag is None or not _promises_copies(configuration) or not _has_suffix(tag, suffix):
        return ""
    return f"no further tag, since {tag} has {suffix}"


def _promises_copies(configuration: Configuration) -> bool:
    tagging = configuration.tagging
    return (
        tagging.policy is TagPolicy.SUFFIX and tagging.when_nothing_to_index and configuration.index.makes_v2
    )


def _has_suffix(tag: str, suffix: str) -> bool:
    """Tell whether a suffix was put behind a tag, and maybe others behind it: at the end, or before a separator.

    One that begins with no separator is not told from the letters around it, so it counts wherever it stands. That
    is what ends the copies of several stacks: a suffix that has been put on counts from then on as soon as another
    with a separator follows, and one without a separator is put on once (docs/adr/0024).
    """
    if suffix[0] not in _SEPARATORS:
        return suffix in tag
    return re.search(rf"{re.escape(suffix)}([{_SEPARATORS}]|\Z)", tag) is not None


def original_tag(request: ImageRequest, configuration: Configuration) -> str | None:
    """Return the tag of which this one would be the output, under the policy `suffix`; None when it is none."""
    tagging, tag = configuration.tagging, request.tag or ""
    if tagging.policy is not TagPolicy.SUFFIX or not tag.endswith(tagging.suffix):
        return None
    return tag.removesuffix(tagging.suffix) or None
