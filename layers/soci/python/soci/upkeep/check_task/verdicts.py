"""How an image is loaded, and the closed list of reasons why not lazily, one sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Loading(StrEnum):
    """How a container's image is loaded before it starts."""

    LAZY = "lazy"
    WHOLE = "whole"
    UNSURE = "unsure"


class TaskReason(StrEnum):
    """Why an image is not, or not surely, loaded lazily. The values stand in `--json` output."""

    NOT_FARGATE = "not-fargate"
    WINDOWS = "windows"
    PLATFORM_VERSION = "platform-version"
    INVALID_IMAGE = "invalid-image"
    OTHER_REGISTRY = "other-registry"
    UNREADABLE = "unreadable"
    IMAGE_GONE = "image-gone"
    ARCHITECTURE_MISMATCH = "architecture-mismatch"
    BROKEN = "broken"
    OTHER_TAG = "index-under-other-tag"
    OTHER_PLATFORM = "platform-not-indexed"
    NO_LAYER_INDEXED = "no-layer-indexed"
    V1_ONLY = "v1-only"
    ZSTD = "zstd"
    IMAGE_TOO_SMALL = "image-too-small"
    NO_LAYER_TO_INDEX = "no-layer-to-index"
    NO_INDEX = "no-index"

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    TaskReason.NOT_FARGATE: "Fargate loads lazily by itself; the task definition is for something else.",
    TaskReason.WINDOWS: "Windows containers are never loaded lazily.",
    TaskReason.PLATFORM_VERSION: "Fargate loads lazily from platform version 1.4.0 on.",
    TaskReason.INVALID_IMAGE: "This is no image reference, or a placeholder that something fills in later.",
    TaskReason.OTHER_REGISTRY: "Only images in a private registry of Amazon ECR are loaded lazily.",
    TaskReason.UNREADABLE: "The registry could not be asked.",
    TaskReason.IMAGE_GONE: "The registry has no such image: the task would not start.",
    TaskReason.ARCHITECTURE_MISMATCH: "The image has nothing for the architecture of the task, which would not start.",
    TaskReason.BROKEN: "A document of the image or of its index is missing or damaged.",
    TaskReason.OTHER_TAG: "The index belongs to a SOCI-enabled copy under another tag: the task has to name that one.",
    TaskReason.OTHER_PLATFORM: "The image has an index, but not for the architecture of the task.",
    TaskReason.NO_LAYER_INDEXED: "The image has an index, but of none of its layers.",
    TaskReason.V1_ONLY: "There is only an index of version 1, which accounts that are new to SOCI cannot use.",
    TaskReason.ZSTD: "The image has layers compressed with zstd; only gzip and uncompressed layers are loaded lazily.",
    TaskReason.IMAGE_TOO_SMALL: "The image has no index, and is so small that it starts no slower without one.",
    TaskReason.NO_LAYER_TO_INDEX: "The image has no index, and no layer that is worth one.",
    TaskReason.NO_INDEX: "The image has no index.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one container's image."""

    container: str
    image: str
    loading: Loading
    reason: TaskReason | None = None
    detail: str = ""

    def to_document(self) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "container": self.container,
            "image": self.image,
            "loading": self.loading,
            "reason": self.reason,
            "sentence": self.reason.sentence if self.reason else "The image is loaded lazily.",
            "detail": self.detail,
        }
