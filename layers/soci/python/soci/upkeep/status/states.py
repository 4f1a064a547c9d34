"""The states of an image, and the status of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from soci.oci.digest import Digest
from soci.service.outcomes import ImageReason
from soci.settings import IndexVersion


class IndexState(StrEnum):
    """The index that an image has, compared with what the settings promise. The values appear in `--json` output."""

    INDEXED = "indexed"
    OTHER_SETTINGS = "other-settings"
    PARTLY = "partly"
    V1_ONLY = "v1-only"
    OUTDATED = "outdated"
    MISSING = "missing"
    LEFT_OUT = "left-out"
    ORPHAN = "orphan"
    BROKEN = "broken"
    UNKNOWN = "unknown"

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    IndexState.INDEXED: "The image has the index that the settings promise.",
    IndexState.OTHER_SETTINGS: "The index was made with other settings; indexing again would replace it.",
    IndexState.PARTLY: "Some platforms or versions that the settings promise have no index.",
    IndexState.V1_ONLY: "There is only a version 1 index, which new AWS accounts cannot use.",
    IndexState.OUTDATED: "The converted image was made from another image: the tag has moved since.",
    IndexState.MISSING: "The settings promise an index, and there is none.",
    IndexState.LEFT_OUT: "The settings leave the image out, or nothing in it can be indexed.",
    IndexState.ORPHAN: "A converted image whose original tag is gone.",
    IndexState.BROKEN: "A document of the image or of its index is missing or damaged.",
    IndexState.UNKNOWN: "This registry does not list untagged images; under policy digest-only an index has no tag.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """The status of one image under one of its tags."""

    repository: str
    tag: str
    digest: Digest
    state: IndexState
    platforms: Mapping[str, frozenset[IndexVersion]]
    """The index versions of each platform of the image."""
    index_tag: str | None = None
    """The tag of the SOCI-enabled image."""
    index_digest: Digest | None = None
    size_bytes: int | None = None
    """The layers of the largest platform; None if the image could not be read."""
    pushed_at: datetime | None = None
    reason: ImageReason | None = None
    """Why the settings leave the image out."""
    detail: str = ""

    @property
    def versions(self) -> list[IndexVersion]:
        """The versions that at least one platform has."""
        return sorted({version for versions in self.platforms.values() for version in versions})

    def to_document(self, now: datetime) -> dict[str, object]:
        """Return it for `--json`."""
        return {
            "repository": self.repository,
            "tag": self.tag,
            "digest": str(self.digest),
            "state": self.state,
            "versions": self.versions,
            "platforms": {platform: sorted(found) for platform, found in self.platforms.items()},
            "index_tag": self.index_tag,
            "index_digest": None if self.index_digest is None else str(self.index_digest),
            "size_bytes": self.size_bytes,
            "pushed_at": None if self.pushed_at is None else self.pushed_at.isoformat(),
            "age_seconds": None if self.pushed_at is None else int((now - self.pushed_at).total_seconds()),
            "reason": self.reason,
            "sentence": self.reason.sentence if self.reason else self.state.sentence,
            "detail": self.detail,
        }
