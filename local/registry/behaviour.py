"""The differences between registries. The defaults are the known properties of Amazon ECR."""

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
    """The behaviour of a registry. `Behaviour()` is ECR; `Behaviour.plain()` has no peculiarities."""

    referrers_api: bool = True
    """If False, there is no referrers path and no OCI-Subject, and clients keep a tag with the referrers."""
    redirects_blobs: bool = True
    """Whether the GET of a blob redirects to a signed URL of the second origin."""
    ranges: bool = True
    """Whether Range headers work; otherwise every GET returns the whole blob."""
    url_lifetime_seconds: float = 900
    min_part_bytes: int = 5 * MIB
    """The minimum size of a chunk, except the last one."""
    max_part_bytes: int = 20 * MIB
    loose_answers: bool = True
    """As in ECR: chunks are answered with 201 and the Range of the first chunk; manifests get no Location."""
    immutable_tags: bool = False
    mutable_tag_patterns: tuple[str, ...] = ()
    """Wildcards of tags that may move nevertheless (ECR: IMMUTABLE_WITH_EXCLUSION)."""
    rates: Mapping[str, int] = field(default_factory=lambda: ECR_RATES)
    """Calls per second by operation; other operations are not limited."""
    retry_after_seconds: int | None = None
    """The Retry-After of a 429; ECR sends none."""
    max_manifest_bytes: int = 4 * MIB
    checks_references: bool = True
    """Whether a manifest is refused if a blob or manifest that it lists is missing."""
    mounts: bool = True
    """Whether blobs can be mounted from another repository; otherwise a mount starts an upload."""
    deletes: bool = True
    creates_repositories: bool = True
    """Whether a push creates the repository; otherwise only `Store.create` does."""
    max_page_entries: int | None = None
    """A lower limit for the pages of all lists (usual: tags and names 1,000, referrers 50)."""

    @classmethod
    def plain(cls) -> Behaviour:
        """Return a behaviour with the referrers API and without limits, redirects and peculiarities."""
        return cls(redirects_blobs=False, min_part_bytes=0, loose_answers=False, rates={})

    def may_move(self, tag: str) -> bool:
        """Tell whether an existing tag may move to another manifest."""
        return not self.immutable_tags or any(fnmatchcase(tag, p) for p in self.mutable_tag_patterns)
