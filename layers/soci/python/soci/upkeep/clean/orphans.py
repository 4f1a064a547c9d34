"""The values of a search for orphans: what is wanted, what was found, and what is kept for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from soci.oci.digest import Digest
from soci.upkeep.clean.contents import ManifestFacts
from soci.upkeep.inventory import Listed


class OrphanKind(StrEnum):
    """What an orphan is. The values appear in `--json` output."""

    V1_WITHOUT_IMAGE = "v1-without-image"
    INDEX_WITHOUT_IMAGE = "index-without-image"
    TAG_WITHOUT_ORIGINAL = "tag-without-original"
    CONVERTED_WITHOUT_ORIGINAL = "copy-without-original"
    PART_OF_CONVERTED = "part-of-copy"
    """An image manifest or SOCI index of a converted image that is an orphan."""
    PROFILE_WITHOUT_IMAGE = "profile-without-image"
    """A start profile whose image is gone, or one without a subject to which no tag leads: a line's former profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A manifest to delete, or only a tag if other tags lead to the manifest."""

    kind: OrphanKind
    digest: Digest
    tags: tuple[str, ...] = ()
    """Tags that are deleted with it."""
    is_tag_alone: bool = False
    subject: Digest | None = None
    lists: frozenset[Digest] = frozenset()
    """Documents that must stay if this one does."""
    pushed_at: datetime | None = None


class KeptReason(StrEnum):
    """Why a tag is kept although the tag of its original is gone. The values appear in `--json` output."""

    IMAGE_IS_THERE = "image-is-there"
    SEVERAL_TAGS = "several-tags"
    UNREADABLE = "unreadable"

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    KeptReason.IMAGE_IS_THERE: "its original image is still there, under another tag or untagged",
    KeptReason.SEVERAL_TAGS: "it has several tags with the suffix, and a user may have set some of them",
    KeptReason.UNREADABLE: "its original may be among the manifests that could not be read (archived, broken)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A tag with the suffix that is kept although the tag without the suffix is gone."""

    tag: str
    digest: Digest
    reason: KeptReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What counts as an orphan."""

    suffix: str | None = None
    """If given, tags with this suffix count if their original is gone."""
    untagged_converted: bool = False
    pushed_before: datetime | None = None
    """Content pushed later is kept: an image that is being indexed has parts that nothing lists yet. Content of
    unknown age is kept, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """The orphans of a repository in an order for deletion: documents come before those they list."""

    found: tuple[Orphan, ...]
    kept: tuple[Kept, ...] = ()
    unreadable: tuple[Digest, ...] = ()
    """Archived or broken manifests. They may list anything, so nothing that they could need is an orphan."""
    listed: Mapping[Digest, Listed] = field(default_factory=dict, repr=False)
    """Everything in the repository."""
    facts: Mapping[Digest, ManifestFacts] = field(default_factory=dict, repr=False)
    """What was read, so that the next search reads only new documents."""
