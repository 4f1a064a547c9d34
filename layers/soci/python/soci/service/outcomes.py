"""The outcomes of an image, and the closed list of reasons why an image is not indexed, each with one sentence.

The values are in the output of executions, in logs and in metrics. New values may be added; none is renamed.
"""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import accumulate

_CUT = "..."
DETAIL_BYTES = 160
"""In JSON, of a detail that explains a reason."""


class Outcome(StrEnum):
    """The outcome of an image."""

    INDEXED = "indexed"
    TAGGED = "tagged"
    """Nothing to index, but the promised tag was set."""
    NOTHING_TO_INDEX = "nothing-to-index"
    """Every layer was left out because of its content."""
    SKIPPED = "skipped"
    FAILED = "failed"


class ImageReason(StrEnum):
    """Why an image, or one of its platforms, is not indexed. `reason.sentence` explains it to a person."""

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
    ImageReason.REPOSITORY_EXCLUDED: "The rules leave out this repository.",
    ImageReason.TAG_EXCLUDED: "The rules leave out this tag.",
    ImageReason.UNTAGGED: "The image was pushed without a tag, and the rules leave such images out.",
    ImageReason.TAG_TOO_LONG: "The tag with the suffix would be longer than a registry allows.",
    ImageReason.IMAGE_GONE: "The registry does not have the image, or no longer has it.",
    ImageReason.SUPERSEDED: "The tag names a newer image, which has its own event.",
    ImageReason.OWN_ARTIFACT: "Indexing made this: a SOCI index, or an image that has one.",
    ImageReason.NOT_AN_IMAGE: "This is not a container image, but an attestation, a signature, a chart or the like.",
    ImageReason.NOT_LINUX: "The image is for another operating system than Linux.",
    ImageReason.ARCHITECTURE_EXCLUDED: "The rules leave out the architecture of the image.",
    ImageReason.IMAGE_TOO_SMALL: "The image is smaller than the minimum size: loading it whole is faster.",
    ImageReason.IMAGE_TOO_LARGE: "The image is larger than the maximum size of the rules.",
    ImageReason.NO_LAYER_TO_INDEX: "No layer of the image can be indexed, or is large enough to be.",
    ImageReason.PLAN_TOO_LARGE: "The image has more layers and platforms than one execution can hold.",
    ImageReason.ALREADY_INDEXED: "The image has an index that was made with the same settings.",
}


def bounded(text: str, limit_bytes: int = DETAIL_BYTES) -> str:
    """Shorten a text to a limit in bytes of JSON, where a control character takes six bytes."""
    beginning = text[:limit_bytes]
    if len(text) <= limit_bytes and _json_bytes(text) <= limit_bytes:
        return text
    ends = accumulate(map(_json_bytes, beginning))
    return beginning[: sum(end <= limit_bytes - len(_CUT) for end in ends)] + _CUT


def _json_bytes(text: str) -> int:
    return len(json.dumps(text)) - len('""')
