"""A model of ECR's lifecycle policies, as its user guide documents them: which images a policy expires.

The rules (Amazon ECR user guide, "Lifecycle policies", "Lifecycle policy properties"):

- a rule selects untagged images, any, or tagged ones: each pattern or prefix has to match one of the image's tags;
- an image can be expired only by the first rule, by priority, that selects it; later rules count it all the same;
- the newest by the time of their push are kept, or those that were pushed within some days;
- a manifest that is part of a manifest list is not expired before the list is;
- what has a subject goes when its subject is gone.

The guide does not say whether parts of a manifest list count where a number of images is kept. So that is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Policy = Mapping[str, Any]

MAX_WILDCARDS = 4


class InvalidPolicy(ValueError):
    """ECR would refuse the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A manifest in a repository."""

    digest: str
    pushed_day: float
    tags: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    """The digests that a manifest list names."""
    subject: str | None = None


def night(policy: Policy, stored: Iterable[Stored], *, day: float, counts_parts: bool) -> list[Stored]:
    """Return what is left after the policy has expired images and ECR has deleted what belongs to them."""
    check(policy)
    images = list(stored)
    gone = expired(policy, images, day=day, counts_parts=counts_parts)
    left = [image for image in images if image.digest not in gone]
    while True:
        digests = {image.digest for image in left}
        held = [image for image in left if image.subject is None or image.subject in digests]
        if len(held) == len(left):
            return left
        left = held


def expired(policy: Policy, images: Sequence[Stored], *, day: float, counts_parts: bool) -> set[str]:
    """Return the digests that a policy expires."""
    parts = {part for image in images for part in image.parts}
    ranked = [image for image in images if counts_parts or image.digest not in parts]
    owned: set[str] = set()
    gone: set[str] = set()
    for rule in sorted(policy["rules"], key=lambda rule: rule["rulePriority"]):
        selection = rule["selection"]
        selected = [image for image in ranked if selects(selection, image)]
        selected.sort(key=lambda image: image.pushed_day, reverse=True)
        if selection["countType"] == "imageCountMoreThan":
            over = selected[selection["countNumber"] :]
        else:
            over = [image for image in selected if day - image.pushed_day > selection["countNumber"]]
        gone |= {image.digest for image in over} - owned - parts
        owned |= {image.digest for image in selected}
    return gone


def selects(selection: Mapping[str, Any], image: Stored) -> bool:
    """Tell whether a rule selects an image by its tags."""
    match selection["tagStatus"]:
        case "any":
            return True
        case "untagged":
            return not image.tags
    wanted = [
        *selection.get("tagPatternList", ()),
        *(f"{one}*" for one in selection.get("tagPrefixList", ())),
    ]
    return all(any(fnmatchcase(tag, pattern) for tag in image.tags) for pattern in wanted)


def check(policy: Policy) -> None:
    """Raise InvalidPolicy for a policy that ECR refuses."""
    rules = sorted(policy["rules"], key=lambda rule: rule["rulePriority"])
    statuses = [rule["selection"]["tagStatus"] for rule in rules]
    if len({rule["rulePriority"] for rule in rules}) < len(rules):
        raise InvalidPolicy("two rules have the same priority")
    if "any" in statuses[:-1]:
        raise InvalidPolicy("a rule for any image has to be the last")
    if statuses.count("untagged") > 1:
        raise InvalidPolicy("two rules are for untagged images")
    for rule in rules:
        _check(rule["selection"])
        if rule["action"] != {"type": "expire"}:
            raise InvalidPolicy(f"an action that is not modelled: {rule['action']}")


def _check(selection: Mapping[str, Any]) -> None:
    by_tag = [key for key in ("tagPatternList", "tagPrefixList") if key in selection]
    if len(by_tag) != (selection["tagStatus"] == "tagged"):
        raise InvalidPolicy("patterns or prefixes are for tagged images, which need one of both")
    if any(pattern.count("*") > MAX_WILDCARDS for pattern in selection.get("tagPatternList", ())):
        raise InvalidPolicy(f"more than {MAX_WILDCARDS} wildcards")
    is_age = selection["countType"] == "sinceImagePushed"
    if not is_age and selection["countType"] != "imageCountMoreThan":
        raise InvalidPolicy(f"a count that is not modelled: {selection['countType']}")
    if is_age != (selection.get("countUnit") == "days") or selection["countNumber"] < 1:
        raise InvalidPolicy("days are the unit of an age, and numbers begin with 1")
