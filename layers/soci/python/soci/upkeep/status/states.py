"""The states that an image can be in, and what is told of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from soci.oci.digest import Digest
from soci.service.outcomes import ImageReason
from soci.settings import IndexVersion


class IndexState(StrEnum):
    """What there is of an index, compared with what the settings promise. The values stand in `--json` output."""

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
    IndexState.INDEXED: "The index that the settings promise is there.",
    IndexState.OTHER_SETTINGS: "There is an index, made with other settings; indexing again would replace it.",
    IndexState.PARTLY: "Only some of what the settings promise is there: platforms or versions are missing.",
    IndexState.V1_ONLY: "There is only an index of version 1, which new accounts cannot use.",
    IndexState.OUTDATED: "The SOCI-enabled copy is of another image: the tag has moved since.",
    IndexState.MISSING: "There is no index, and the settings promise one.",
    IndexState.LEFT_OUT: "The settings leave the image out, or there is nothing in it to index.",
    IndexState.ORPHAN: "A SOCI-enabled copy whose original tag is gone.",
    IndexState.BROKEN: "A document of the image or of its index is missing or damaged.",
    IndexState.UNKNOWN: "SOCI-enabled images without a tag (policy digest-only) cannot be found from here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """What is told of one image under one of its tags."""

    repository: str
    tag: str
    digest: Digest
    state: IndexState
    platforms: Mapping[str, frozenset[IndexVersion]]
    """Indexes by platform; the platforms are those of the image."""
    index_tag: str | None = None
    """Where the SOCI-enabled image is found."""
    index_digest: Digest | None = None
    size_bytes: int | None = None
    """Of the largest platform's layers; None if the image could not be read."""
    pushed_at: datetime | None = None
    reason: ImageReason | None = None
    """Why the settings leave the image out."""
    detail: str = ""

    @property
    def versions(self) -> list[IndexVersion]:
        """Versions that some platform has."""
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
