"""The tag that is promised to an image even if nothing of it is indexed."""

from __future__ import annotations

import re

from soci.service.messages import ImageRequest
from soci.service.settings.configuration import Configuration, TagPolicy

_SEPARATORS = "._-"


def promised_tag(request: ImageRequest, configuration: Configuration) -> str | None:
    """Return the tag to set on the image itself when nothing of it is indexed; None when none is promised.

    A tag that has the suffix gets no further tag: otherwise each new tag would lead to the next.
    """
    tag = request.tag
    if tag is None or not _promises_tags(configuration) or _has_suffix(tag, configuration.tagging.suffix):
        return None
    return configuration.output_tag(tag)


def why_not_promised(request: ImageRequest, configuration: Configuration) -> str:
    """Say that an image is promised no tag because its own has the suffix; "" if that is not the cause."""
    tag, suffix = request.tag, configuration.tagging.suffix
    if tag is None or not _promises_tags(configuration) or not _has_suffix(tag, suffix):
        return ""
    return f"no further tag, since {tag} has {suffix}"


def _promises_tags(configuration: Configuration) -> bool:
    tagging = configuration.tagging
    return (
        tagging.policy is TagPolicy.SUFFIX and tagging.when_nothing_to_index and configuration.index.makes_v2
    )


def _has_suffix(tag: str, suffix: str) -> bool:
    """Tell whether a tag has the suffix: at its end, or before a separator, where another suffix may follow.

    A suffix without a separator in front looks like the letters around it, so it counts wherever it stands. So the tags
    of several stacks do not grow for ever: a suffix still counts when another one follows, and a suffix without a
    separator is added only once (docs/adr/0024).
    """
    if suffix[0] not in _SEPARATORS:
        return suffix in tag
    return re.search(rf"{re.escape(suffix)}([{_SEPARATORS}]|\Z)", tag) is not None
