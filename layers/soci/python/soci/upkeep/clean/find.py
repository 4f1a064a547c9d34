"""Finding what is left of images that are gone. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from soci.oci import media_types
from soci.oci.digest import Digest
from soci.upkeep.clean.contents import Contents, ManifestFacts, read_contents
from soci.upkeep.inventory import Inventory, Listed


class OrphanKind(StrEnum):
    """What an orphan is. The values stand in `--json` output."""

    V1_WITHOUT_IMAGE = "v1-without-image"
    INDEX_WITHOUT_IMAGE = "index-without-image"
    TAG_WITHOUT_ORIGINAL = "tag-without-original"
    CONVERTED_WITHOUT_ORIGINAL = "copy-without-original"
    PART_OF_CONVERTED = "part-of-copy"
    """An image manifest or SOCI index of a copy that goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One manifest that goes, or a tag alone where others lead to the manifest."""

    kind: OrphanKind
    digest: Digest
    tags: tuple[str, ...] = ()
    """That go with it."""
    is_tag_alone: bool = False
    subject: Digest | None = None
    lists: frozenset[Digest] = frozenset()
    """What has to stay if this one does."""
    pushed_at: datetime | None = None


class KeptReason(StrEnum):
    """Why a tag stays though its name says that its original is gone. The values stand in `--json` output."""

    IMAGE_IS_THERE = "image-is-there"
    SEVERAL_TAGS = "several-tags"
    UNREADABLE = "unreadable"

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    KeptReason.IMAGE_IS_THERE: "the image that it was made of is there, under another tag or none",
    KeptReason.SEVERAL_TAGS: "other tags with the suffix name it too, and which of them a person set is not known",
    KeptReason.UNREADABLE: "what was not read (archived, broken) may be the image that it was made of",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A tag that has the suffix and no original of its name, and stays all the same."""

    tag: str
    digest: Digest
    reason: KeptReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What counts as an orphan."""

    suffix: str | None = None
    """With it, tags without their original count: those that end in it."""
    untagged_converted: bool = False
    pushed_before: datetime | None = None
    """Younger ones stay: an image that is being indexed right now has parts that nothing lists yet. So does what the
    registry tells no time of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """What was found in a repository, in an order in which it can go: what lists others before them."""

    found: tuple[Orphan, ...]
    kept: tuple[Kept, ...] = ()
    unreadable: tuple[Digest, ...] = ()
    """What is archived or broken. What that lists or names is not known, so nothing goes that it may need."""
    listed: Mapping[Digest, Listed] = field(default_factory=dict, repr=False)
    """All that was there."""
    facts: Mapping[Digest, ManifestFacts] = field(default_factory=dict, repr=False)
    """What was read, so that a second look reads what is new alone."""


def find_orphans(
    inventory: Inventory,
    repository: str,
    wanted: Wanted,
    *,
    known: Mapping[Digest, ManifestFacts] | None = None,
    also: Mapping[Digest, Listed] | None = None,
) -> Orphans:
    """Find what is left of images that are gone.

    A registry without ECR's API tells of tags alone, so only tags without their original are found there, and an
    original that has no tag is not seen. `also` counts as being there: what was taken away a moment ago.

    Raises:
        SourceError: the registry cannot be asked.
    """
    there = {
        one.digest: one for one in inventory.fetch_images(repository, only_tagged=False, with_archived=True)
    }
    listed = {**(also or {}), **there}
    by_tags = wanted.suffix is not None and not inventory.has_api
    contents = read_contents(
        inventory.open_image, repository, list(listed.values()), known or {}, with_unlisted=by_tags
    )
    search = _Search(
        listed=listed,
        tags={tag: one for one in listed.values() for tag in one.tags},
        contents=contents,
        wanted=wanted,
    )
    found = search.run()
    return Orphans(
        found=tuple(found),
        kept=tuple(search.kept),
        unreadable=contents.unreadable if inventory.has_api or by_tags else (),
        listed=there,
        facts=contents.facts,
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    listed: Mapping[Digest, Listed]
    tags: Mapping[str, Listed]
    contents: Contents
    wanted: Wanted
    orphans: dict[Digest, Orphan] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)

    def run(self) -> list[Orphan]:
        """Find all of them, copies first: what they list may go with them."""
        tags_alone = list(self._tags_without_original())
        if not self.contents.unreadable:
            if self.wanted.untagged_converted:
                self._add(OrphanKind.CONVERTED_WITHOUT_ORIGINAL, self._untagged_converted())
            self._add(OrphanKind.PART_OF_CONVERTED, self._parts(self._enabled_manifests()))
            self._add(OrphanKind.INDEX_WITHOUT_IMAGE, self._parts(self._soci_indexes()))
        self._add(OrphanKind.V1_WITHOUT_IMAGE, self._v1_without_image())
        return [*tags_alone, *self.orphans.values()]

    def _add(self, kind: OrphanKind, found: Iterable[Listed]) -> None:
        for one in list(found):
            if one.digest not in self.orphans and self._is_old(one):
                self.orphans[one.digest] = Orphan(
                    kind=kind,
                    digest=one.digest,
                    tags=one.tags,
                    subject=one.subject,
                    lists=self.contents.children.get(one.digest, frozenset()),
                    pushed_at=one.pushed_at,
                )

    def _is_old(self, one: Listed) -> bool:
        before = self.wanted.pushed_before
        return before is None or (one.pushed_at is not None and one.pushed_at < before)

    def _tags_without_original(self) -> Iterator[Orphan]:
        """Yield tags that go alone; a copy that has no other tag goes itself."""
        suffix = self.wanted.suffix
        if not suffix:
            return
        for one in self._enabled_indexes():
            named = [tag for tag in one.tags if tag.endswith(suffix) and len(tag) > len(suffix)]
            without = [tag for tag in named if tag.removesuffix(suffix) not in self.tags]
            if not without or not self._is_old(one):
                continue
            if reason := self._why_kept(one, named):
                self.kept += [Kept(tag=tag, digest=one.digest, reason=reason) for tag in without]
            elif len(one.tags) == 1:
                self._add(OrphanKind.TAG_WITHOUT_ORIGINAL, [one])
            else:
                yield Orphan(
                    kind=OrphanKind.TAG_WITHOUT_ORIGINAL,
                    digest=one.digest,
                    tags=tuple(without),
                    is_tag_alone=True,
                    pushed_at=one.pushed_at,
                )

    def _why_kept(self, copy: Listed, named: Sequence[str]) -> KeptReason | None:
        """Say why a copy keeps its tags although one of their names has no original; in doubt it does.

        Nothing tells a tag that indexing set from one that a person set on the SOCI-enabled image with the same ending.
        """
        configs = self.contents.configs_of_converted(copy.digest)
        if configs & self.contents.configs_of_originals:
            return KeptReason.IMAGE_IS_THERE
        if self.contents.unreadable or not configs:
            return KeptReason.UNREADABLE
        return KeptReason.SEVERAL_TAGS if len(named) > 1 else None

    def _untagged_converted(self) -> Iterator[Listed]:
        """Yield copies without a tag; of one that was taken away in part, the image manifests that are left."""
        contents = self.contents
        below = {digest for children in contents.children.values() for digest in children}
        alone = (digest for digest in contents.named_indexes if digest not in below)
        for digest in (*contents.enabled_indexes, *alone):
            configs = contents.configs_of_converted(digest)
            if not self.listed[digest].tags and configs and not configs & contents.configs_of_originals:
                yield self.listed[digest]

    def _enabled_indexes(self) -> Iterator[Listed]:
        return (self.listed[digest] for digest in self.contents.enabled_indexes)

    def _enabled_manifests(self) -> Iterator[Listed]:
        """Yield the image manifests of copies that go. One that nothing ever listed may be what somebody runs."""
        below = {digest for orphan in self.orphans.values() for digest in orphan.lists}
        named = self.contents.named_indexes
        return (self.listed[digest] for digest in named if digest in below and digest in self.listed)

    def _soci_indexes(self) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == media_types.SOCI_INDEX_V2 and not one.is_archived
        )

    def _parts(self, candidates: Iterable[Listed]) -> Iterator[Listed]:
        """Leave out what has a tag, or what something that stays lists or names."""
        needed = self._referenced()
        return (one for one in candidates if not one.tags and one.digest not in needed)

    def _referenced(self) -> set[Digest]:
        contents = self.contents
        listed = {
            child
            for parent, children in contents.children.items()
            if parent not in self.orphans
            for child in children
        }
        named = {index for manifest, index in contents.named_indexes.items() if manifest not in self.orphans}
        return listed | named

    def _v1_without_image(self) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == media_types.SOCI_INDEX_V1
            and not one.tags
            and not one.is_archived
            and one.subject is not None
            and (one.subject not in self.listed or one.subject in self.orphans)
        )
