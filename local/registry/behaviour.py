"""What registries differ in. The defaults are those of Amazon ECR, as far as they are known from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

MIB = 1 << 20

ECR_RATES: Mapping[str, int] = {
    "BatchCheckLayerAvailability": 1_000,
    "BatchGetImage": 2_000,
    "CompleteLayerUpload": 100,
    "GetDownloadUrlForLayer": 3_000,
    "InitiateLayerUpload": 100,
    "PutImage": 10,
    "UploadLayerPart": 500,
}
"""Calls per second that ECR allows an account, by the operation behind a request (ECR user guide, quotas)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one registry behaves. `Behaviour()` is ECR; `Behaviour.plain()` is as simple as can be."""

    referrers_api: bool = True
    """Without it the referrers path is not found, no answer has OCI-Subject, and clients keep a tag."""
    redirects_blobs: bool = True
    """A blob's GET is answered with a signed URL of the second origin."""
    ranges: bool = True
    """Range headers are honoured; otherwise every GET gives the whole blob."""
    url_lifetime_seconds: float = 900
    min_part_bytes: int = 5 * MIB
    """Every chunk of an upload but the last has to be as large."""
    max_part_bytes: int = 20 * MIB
    loose_answers: bool = True
    """As ECR: a chunk is answered with 201, and Range stays at the first one; a manifest has no Location."""
    immutable_tags: bool = False
    mutable_tag_patterns: tuple[str, ...] = ()
    """Wildcards of tags that move all the same (ECR: IMMUTABLE_WITH_EXCLUSION)."""
    rates: Mapping[str, int] = field(default_factory=lambda: ECR_RATES)
    """Calls per second by operation; what is not named is not limited."""
    retry_after_seconds: int | None = None
    """Goes with a 429 as Retry-After; ECR sends none."""
    max_manifest_bytes: int = 4 * MIB
    checks_references: bool = True
    """A manifest is refused unless its blobs and manifests are all there."""
    mounts: bool = True
    """Blobs can be mounted from another repository; otherwise a mount begins an upload."""
    deletes: bool = True
    creates_repositories: bool = True
    """A push makes the repository; otherwise only those that `Store.create` made are known."""
    max_page_entries: int | None = None
    """An upper limit for pages of every list, below the usual ones (tags and names 1,000, referrers 50)."""

    @classmethod
    def plain(cls) -> Behaviour:
        """Give a registry with the referrers API and without limits, redirects and peculiarities."""
        return cls(redirects_blobs=False, min_part_bytes=0, loose_answers=False, rates={})

    def may_move(self, tag: str) -> bool:
        """Tell whether a tag that exists can be put on another manifest."""
        return not self.immutable_tags or any(fnmatchcase(tag, p) for p in self.mutable_tag_patterns)
