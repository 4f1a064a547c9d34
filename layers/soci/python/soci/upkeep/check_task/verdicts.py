"""The verdict on a container: how its image is loaded, and the reasons why it is not loaded lazily."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Loading(StrEnum):
    """How a container's image is loaded."""

    LAZY = "lazy"
    WHOLE = "whole"
    UNSURE = "unsure"


class TaskReason(StrEnum):
    """Why an image is not loaded lazily, or perhaps not. The values appear in `--json` output."""

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
    TaskReason.NOT_FARGATE: "The task definition is not for Fargate.",
    TaskReason.WINDOWS: "Windows containers are never loaded lazily.",
    TaskReason.PLATFORM_VERSION: "Fargate loads lazily from platform version 1.4.0 on.",
    TaskReason.INVALID_IMAGE: "This is no image reference. It may be a placeholder.",
    TaskReason.OTHER_REGISTRY: "Only images in a private registry of Amazon ECR are loaded lazily.",
    TaskReason.UNREADABLE: "The registry could not be read.",
    TaskReason.IMAGE_GONE: "The image is not in the registry: the task would not start.",
    TaskReason.ARCHITECTURE_MISMATCH: "The image lacks the architecture of the task: the task would not start.",
    TaskReason.BROKEN: "A document of the image or of its index is missing or damaged.",
    TaskReason.OTHER_TAG: "The converted image has another tag: the task has to name that tag.",
    TaskReason.OTHER_PLATFORM: "The image has an index, but not for the architecture of the task.",
    TaskReason.NO_LAYER_INDEXED: "The image has an index, but the index covers no layer.",
    TaskReason.V1_ONLY: "There is only a version 1 index, which new AWS accounts cannot use.",
    TaskReason.ZSTD: "The image has layers compressed with zstd; only gzip and uncompressed layers are loaded lazily.",
    TaskReason.IMAGE_TOO_SMALL: "The image has no index and is too small to gain from one.",
    TaskReason.NO_LAYER_TO_INDEX: "The image has no index and no layer that can be indexed.",
    TaskReason.NO_INDEX: "The image has no index.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one container's image is loaded, and why."""

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
