"""The event patterns that start an execution: the part of the filter's rules that EventBridge can express.

A pattern may drop only images that the filter would skip. It should drop as many of them as possible, since each other
image costs an execution. The filter decides what a pattern cannot express:

- `?` in names: becomes `*` in names to include, and is left out of names to exclude;
- names to exclude next to names to include: EventBridge joins the conditions on a field by "or";
- missing facts: events need not contain media types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from soci.oci import media_types
from soci.service.settings.configuration import NamePatterns, Rules, UntaggedImages

Condition = dict[str, object]
Conditions = list[object]

SOURCE = "aws.ecr"
MAX_PATTERN_CHARACTERS = 2048
"""The limit of EventBridge."""

_ABSENT: Condition = {"exists": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A pattern for one kind of event."""

    detail_type: str
    detail: Mapping[str, object]

    def to_document(self) -> dict[str, object]:
        """Return the pattern as EventBridge accepts it."""
        return {"source": [SOURCE], "detail-type": [self.detail_type], "detail": self.detail}


def event_patterns(rules: Rules) -> dict[str, Pattern]:
    """Return the pattern for each kind of event, by the name of its rule."""
    image = _fitting(rules)
    media_type = {
        "manifest-media-type": [
            _ABSENT,
            media_types.OCI_MANIFEST,
            media_types.OCI_INDEX,
            media_types.DOCKER_MANIFEST,
            media_types.DOCKER_MANIFEST_LIST,
        ],
        # An image has the media type of its config. Charts, signatures and SOCI indexes have others.
        "artifact-media-type": [_ABSENT, "", media_types.OCI_CONFIG, media_types.DOCKER_CONFIG],
    }
    pushed = {"action-type": ["PUSH"], "result": ["SUCCESS"], **media_type, **image}
    replicated = {"action-type": ["REPLICATE"], "result": ["SUCCESS"], **image}
    cached = {"sync-status": ["SUCCESS"], **image}
    return {
        "Push": Pattern(detail_type="ECR Image Action", detail=pushed),
        "Replication": Pattern(detail_type="ECR Replication Action", detail=replicated),
        "PullThroughCache": Pattern(detail_type="ECR Pull Through Cache Action", detail=cached),
    }


def _fitting(rules: Rules) -> Condition:
    """Return the conditions on names that fit into a pattern, the shortest first. The filter checks the others."""
    repository = _included(rules.repositories) or _not_excluded(rules.repositories.exclude)
    conditions = {"repository-name": repository, "image-tag": _tag(rules)}
    room = MAX_PATTERN_CHARACTERS - 800  # for the rest of the pattern
    fitting: Condition = {}
    for name, condition in sorted(conditions.items(), key=lambda item: len(json.dumps(item[1]))):
        if condition and len(json.dumps({**fitting, name: condition})) <= room:
            fitting[name] = condition
    return fitting


def _tag(rules: Rules) -> Conditions | None:
    included = _included(rules.tags)
    if rules.untagged_images is UntaggedImages.INDEX:
        allowed = included or _not_excluded(rules.tags.exclude)
        return [_ABSENT, "", *allowed] if allowed else None
    if included:
        return included
    literal = [name for name in rules.tags.exclude if not re.search(r"[*?]", name)]
    return [{"anything-but": ["", *literal]}]


def _included(names: NamePatterns) -> Conditions | None:
    """Return the conditions of which an included name meets at least one; None if every name is included."""
    if "*" in names.include:
        return None
    return [_condition(re.sub(r"[*?]+", "*", glob)) for glob in names.include]


def _condition(glob: str) -> object:
    """Express a pattern without a wildcard if possible: EventBridge limits their number and complexity."""
    head, star, tail = glob.partition("*")
    if not star:
        return glob
    if not tail:
        return {"prefix": head}
    if not head and "*" not in tail:
        return {"suffix": tail}
    return {"wildcard": _escaped(glob)}


def _not_excluded(globs: tuple[str, ...]) -> Conditions | None:
    """Return a condition that only excluded names fail; None if no name can be excluded here."""
    expressible = [re.sub(r"\*+", "*", glob) for glob in globs if "?" not in glob]
    if not expressible:
        return None
    if not any("*" in glob for glob in expressible):
        return [{"anything-but": expressible}]
    return [{"anything-but": {"wildcard": [_escaped(glob) for glob in expressible]}}]


def _escaped(glob: str) -> str:
    return glob.replace("\\", "\\\\")
