"""Which events of the registry start an execution: as much of the rules as a pattern of EventBridge can say.

A pattern may only drop what the filter would skip too, and drops as much of it as it can, since what it lets through
costs an execution. What it cannot say is left to the filter:

- `?` of the rules: taken for `*` in names to include, and not said in names to exclude;
- names to exclude beside names to include: the conditions on a field are joined by "or", so only one list can stand;
- what the registry does not tell: real events need not have media types.
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
"""EventBridge takes no longer ones."""

_ABSENT: Condition = {"exists": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A pattern for one kind of event."""

    detail_type: str
    detail: Mapping[str, object]

    def to_document(self) -> dict[str, object]:
        """Return it as EventBridge takes it."""
        return {"source": [SOURCE], "detail-type": [self.detail_type], "detail": self.detail}


def event_patterns(rules: Rules) -> dict[str, Pattern]:
    """Return a pattern for each kind of event, by a name for its rule."""
    image = _fitting(rules)
    media_type = {
        "manifest-media-type": [
            _ABSENT,
            media_types.OCI_MANIFEST,
            media_types.OCI_INDEX,
            media_types.DOCKER_MANIFEST,
            media_types.DOCKER_MANIFEST_LIST,
        ],
        # Of an image it is the type of its config; so charts, signatures and our own indexes go no further.
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
    """Conditions on the image's names; if many make a pattern too long, the longer ones are left to the filter."""
    repository = _included(rules.repositories) or _not_excluded(rules.repositories.exclude)
    conditions = {"repository-name": repository, "image-tag": _tag(rules)}
    room = MAX_PATTERN_CHARACTERS - 800  # for all the rest
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
    """Return conditions of which a name that is meant fulfils one; None if that is any name."""
    if "*" in names.include:
        return None
    return [_condition(re.sub(r"[*?]+", "*", glob)) for glob in names.include]


def _condition(glob: str) -> object:
    """Say a pattern as simply as can be: an account may have 30 rules with wildcards, and they can be too complex."""
    head, star, tail = glob.partition("*")
    if not star:
        return glob
    if not tail:
        return {"prefix": head}
    if not head and "*" not in tail:
        return {"suffix": tail}
    return {"wildcard": _escaped(glob)}


def _not_excluded(globs: tuple[str, ...]) -> Conditions | None:
    """Return a condition that only excluded names break; None if nothing can be excluded here."""
    sayable = [re.sub(r"\*+", "*", glob) for glob in globs if "?" not in glob]
    if not sayable:
        return None
    if not any("*" in glob for glob in sayable):
        return [{"anything-but": sayable}]
    return [{"anything-but": {"wildcard": [_escaped(glob) for glob in sayable]}}]


def _escaped(glob: str) -> str:
    return glob.replace("\\", "\\\\")
