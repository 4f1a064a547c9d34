"""Finding what is left of images that are gone. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from soci.inventory import Inventory, Listed
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.orphans.contents import Contents, read_contents


class OrphanKind(StrEnum):
    """What an orphan is. The values stand in `--json` output."""

    V1_WITHOUT_IMAGE = "v1-without-image"
    INDEX_WITHOUT_IMAGE = "index-without-image"
    TAG_WITHOUT_ORIGINAL = "tag-without-original"
    COPY_WITHOUT_ORIGINAL = "copy-without-original"
    PART_OF_COPY = "part-of-copy"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What counts as an orphan."""

    suffix: str | None = None
    """With it, tags without their original count: those that end in it."""
    untagged_copies: bool = False
    pushed_before: datetime | None = None
    """Younger ones stay: an image that is being indexed right now has parts that nothing lists yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """What was found in a repository, in an order in which it can go: what lists others before them."""

    found: tuple[Orphan, ...]
    unreadable: tuple[Digest, ...] = ()
    """What is archived or broken. What that lists or names is not known, so nothing goes that it may need."""


def find_orphans(inventory: Inventory, repository: str, wanted: Wanted) -> Orphans:
    """Find what is left of images that are gone.

    A registry without ECR's API tells of tags alone, so only tags without their original are found there.

    Raises:
        SourceError: the registry cannot be asked.
    """
    listed = list(inventory.fetch_images(repository, only_tagged=False, with_archived=True))
    search = _Search(
        listed={one.digest: one for one in listed},
        tags={tag: one for one in listed for tag in one.tags},
        contents=read_contents(inventory.open_image, repository, listed),
        wanted=wanted,
    )
    found = search.run()
    unreadable = search.contents.unreadable if inventory.has_api else ()
    return Orphans(found=tuple(found), unreadable=unreadable)


@dataclass(slots=True, kw_only=True)
class _Search:
    listed: Mapping[Digest, Listed]
    tags: Mapping[str, Listed]
    contents: Contents
    wanted: Wanted
    going: dict[Digest, Orphan] = field(default_factory=dict)

    def run(self) -> list[Orphan]:
        """Find all of them, copies first: what they list may go with them."""
        tags_alone = list(self._tags_without_original())
        if not self.contents.unreadable:
            if self.wanted.untagged_copies:
                self._add(OrphanKind.COPY_WITHOUT_ORIGINAL, self._untagged_copies())
            self._add(OrphanKind.PART_OF_COPY, self._parts(self._enabled_manifests()))
            self._add(OrphanKind.INDEX_WITHOUT_IMAGE, self._parts(self._soci_indexes()))
        self._add(OrphanKind.V1_WITHOUT_IMAGE, self._v1_without_image())
        return [*tags_alone, *self.going.values()]

    def _add(self, kind: OrphanKind, found: Iterable[Listed]) -> None:
        for one in list(found):
            if one.digest not in self.going and self._is_old(one):
                self.going[one.digest] = Orphan(
                    kind=kind,
                    digest=one.digest,
                    tags=one.tags,
                    subject=one.subject,
                    lists=self.contents.children.get(one.digest, frozenset()),
                    pushed_at=one.pushed_at,
                )

    def _is_old(self, one: Listed) -> bool:
        before = self.wanted.pushed_before
        return before is None or one.pushed_at is None or one.pushed_at < before

    def _tags_without_original(self) -> Iterator[Orphan]:
        """Yield tags that go alone; a copy of which all tags go, goes itself."""
        suffix = self.wanted.suffix
        if not suffix:
            return
        for one in self._enabled_indexes():
            without = [
                tag
                for tag in one.tags
                if tag.endswith(suffix)
                and len(tag) > len(suffix)
                and tag.removesuffix(suffix) not in self.tags
            ]
            if without and len(without) == len(one.tags):
                self._add(OrphanKind.TAG_WITHOUT_ORIGINAL, [one])
            elif without and self._is_old(one):
                yield Orphan(
                    kind=OrphanKind.TAG_WITHOUT_ORIGINAL,
                    digest=one.digest,
                    tags=tuple(without),
                    is_tag_alone=True,
                    pushed_at=one.pushed_at,
                )

    def _untagged_copies(self) -> Iterator[Listed]:
        """Yield copies without a tag; of one that was taken away in part, the image manifests that are left."""
        contents = self.contents
        below = {digest for children in contents.children.values() for digest in children}
        alone = ((digest, frozenset({digest})) for digest in contents.named_indexes if digest not in below)
        whole = ((digest, contents.children[digest]) for digest in contents.enabled_indexes)
        for digest, manifests in (*whole, *alone):
            configs = {contents.configs[one] for one in manifests if one in contents.named_indexes}
            if not self.listed[digest].tags and configs and not configs & contents.configs_of_originals:
                yield self.listed[digest]

    def _enabled_indexes(self) -> Iterator[Listed]:
        return (self.listed[digest] for digest in self.contents.enabled_indexes)

    def _enabled_manifests(self) -> Iterator[Listed]:
        """Yield the image manifests of copies that go. One that nothing ever listed may be what somebody runs."""
        below = {digest for orphan in self.going.values() for digest in orphan.lists}
        return (self.listed[digest] for digest in self.contents.named_indexes if digest in below)

    def _soci_indexes(self) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == media_types.SOCI_INDEX_V2 and not one.is_archived
        )

    def _parts(self, candidates: Iterable[Listed]) -> Iterator[Listed]:
        """Leave out what has a tag, or what something that stays lists or names."""
        needed = self._needed()
        return (one for one in candidates if not one.tags and one.digest not in needed)

    def _needed(self) -> set[Digest]:
        contents = self.contents
        listed = {
            child
            for parent, children in contents.children.items()
            if parent not in self.going
            for child in children
        }
        named = {index for manifest, index in contents.named_indexes.items() if manifest not in self.going}
        return listed | named

    def _v1_without_image(self) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == media_types.SOCI_INDEX_V1
            and not one.tags
            and not one.is_archived
            and one.subject is not None
            and (one.subject not in self.listed or one.subject in self.going)
        )
