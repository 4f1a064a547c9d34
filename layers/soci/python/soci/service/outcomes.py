"""What can come of an image, and the closed list of reasons why one was not indexed, one sentence each.

The values are stable: they stand in the output of executions, in logs and in counts, so they are added, never renamed.
"""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import accumulate

_CUT = "..."
DETAIL_BYTES = 160
"""In JSON, of a text that explains a reason."""


class Outcome(StrEnum):
    """What came of an image."""

    INDEXED = "indexed"
    TAGGED = "tagged"
    """Nothing to index, but the promised tag was set."""
    NOTHING_TO_INDEX = "nothing-to-index"
    """Every layer was left out, as their bytes showed."""
    SKIPPED = "skipped"
    FAILED = "failed"


class ImageReason(StrEnum):
    """Why an image, or one platform of it, was not indexed; `reason.sentence` explains it to a person."""

    REPOSITORY_EXCLUDED = "repository-excluded"
    TAG_EXCLUDED = "tag-excluded"
    UNTAGGED = "untagged"
    TAG_TOO_LONG = "tag-too-long"
    IMAGE_GONE = "image-gone"
    SUPERSEDED = "superseded"
    OWN_ARTIFACT = "own-artifact"
    NOT_AN_IMAGE = "not-an-image"
    NOT_LINUX = "not-linux"
    ARCHITECTURE_EXCLUDED = "architecture-excluded"
    IMAGE_TOO_SMALL = "image-too-small"
    IMAGE_TOO_LARGE = "image-too-large"
    NO_LAYER_TO_INDEX = "no-layer-to-index"
    PLAN_TOO_LARGE = "plan-too-large"
    ALREADY_INDEXED = "already-indexed"

    @property
    def sentence(self) -> str:
        """One sentence for a terminal, a log line or a table cell."""
        return _SENTENCES[self]


_SENTENCES = {
    ImageReason.REPOSITORY_EXCLUDED: "The rules leave this repository out.",
    ImageReason.TAG_EXCLUDED: "The rules leave this tag out.",
    ImageReason.UNTAGGED: "The image was pushed without a tag, and the rules leave such images out.",
    ImageReason.TAG_TOO_LONG: "The tag with the suffix would be longer than a registry takes.",
    ImageReason.IMAGE_GONE: "The registry has no such image, or has it no longer.",
    ImageReason.SUPERSEDED: "The tag names another image by now, whose own push is dealt with by itself.",
    ImageReason.OWN_ARTIFACT: "This is what indexing made: a SOCI index, or an image that has one.",
    ImageReason.NOT_AN_IMAGE: "This is no container image: an attestation, a signature, a chart or the like.",
    ImageReason.NOT_LINUX: "The image is for another operating system than Linux.",
    ImageReason.ARCHITECTURE_EXCLUDED: "The rules leave the architecture of the image out.",
    ImageReason.IMAGE_TOO_SMALL: "The image is smaller than the minimum size, so loading it whole is faster.",
    ImageReason.IMAGE_TOO_LARGE: "The image is larger than the maximum size of the rules.",
    ImageReason.NO_LAYER_TO_INDEX: "No layer of the image can be indexed, or is large enough to be.",
    ImageReason.PLAN_TOO_LARGE: "The image has more layers and platforms than an execution can keep track of.",
    ImageReason.ALREADY_INDEXED: "The image has an index that was made with the same settings.",
}


def bounded(text: str, limit_bytes: int = DETAIL_BYTES) -> str:
    """Shorten a text to what a message has room for: in JSON, where a control character takes six bytes."""
    beginning = text[:limit_bytes]
    if len(text) <= limit_bytes and _json_bytes(text) <= limit_bytes:
        return text
    ends = accumulate(map(_json_bytes, beginning))
    return beginning[: sum(end <= limit_bytes - len(_CUT) for end in ends)] + _CUT


def _json_bytes(text: str) -> int:
    return len(json.dumps(text)) - len('""')
