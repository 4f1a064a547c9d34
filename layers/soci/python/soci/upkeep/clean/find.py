"""Find what is left of images that are gone. This module changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from soci.oci import media_types
from soci.oci.digest import Digest
from soci.upkeep.clean.contents import Contents, ManifestFacts, read_contents
from soci.upkeep.clean.orphans import Kept, KeptReason, Orphan, OrphanKind, Orphans, Wanted
from soci.upkeep.inventory import Inventory, Listed


def find_orphans(
    inventory: Inventory,
    repository: str,
    wanted: Wanted,
    *,
    known: Mapping[Digest, ManifestFacts] | None = None,
    also: Mapping[Digest, Listed] | None = None,
) -> Orphans:
    """Find what is left of images that are gone.

    A registry without ECR's API lists only tags. There, only tags without their original are found, and an original
    without a tag is not seen. `known` documents are not read again. `also` counts as still there: what the caller has
    just deleted.

    Raises:
        SourceError: the registry cannot be read.
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
        tags={tag for one in listed.values() for tag in one.tags},
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
    """One search. A kind of orphan may lead to the next: what an orphan lists may be an orphan, too."""

    listed: Mapping[Digest, Listed]
    tags: set[str]
    contents: Contents
    wanted: Wanted
    orphans: dict[Digest, Orphan] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)

    def run(self) -> list[Orphan]:
        """Find all orphans: converted images first, since they decide about their parts."""
        tags_alone = list(self._tags_without_original())
        if not self.contents.unreadable:
            if self.wanted.untagged_converted:
                self._add(OrphanKind.CONVERTED_WITHOUT_ORIGINAL, self._untagged_converted())
            self._add(OrphanKind.PART_OF_CONVERTED, self._unreferenced(self._manifests_of_orphans()))
            self._add(OrphanKind.INDEX_WITHOUT_IMAGE, self._unreferenced(self._indexes_v2()))
        self._add(OrphanKind.V1_WITHOUT_IMAGE, self._v1_without_image())
        self._add(OrphanKind.PROFILE_WITHOUT_IMAGE, self._profiles_without_image())
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
        """Yield orphaned tags whose manifest has other tags; add the manifests that have no other tag."""
        suffix = self.wanted.suffix
        if not suffix:
            return
        for one in map(self.listed.__getitem__, self.contents.enabled_indexes):
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

    def _why_kept(self, converted: Listed, named: Sequence[str]) -> KeptReason | None:
        """Say why a converted image keeps its tags; in doubt it does.

        A user may have set a tag with the suffix on the converted image. Such a tag looks like one that indexing set.
        """
        configs = self.contents.configs_of_converted(converted.digest)
        if configs & self.contents.configs_of_originals:
            return KeptReason.IMAGE_IS_THERE
        if self.contents.unreadable or not configs:
            return KeptReason.UNREADABLE
        return KeptReason.SEVERAL_TAGS if len(named) > 1 else None

    def _untagged_converted(self) -> Iterator[Listed]:
        """Yield untagged converted images without their original, and manifests that an interrupted deletion left."""
        contents = self.contents
        below = {digest for children in contents.children.values() for digest in children}
        left = (digest for digest in contents.named_indexes if digest not in below)
        for digest in (*contents.enabled_indexes, *left):
            configs = contents.configs_of_converted(digest)
            if not self.listed[digest].tags and configs and not configs & contents.configs_of_originals:
                yield self.listed[digest]

    def _manifests_of_orphans(self) -> Iterator[Listed]:
        """Yield the image manifests of orphaned converted images. One that no orphan lists may be in use."""
        below = {digest for orphan in self.orphans.values() for digest in orphan.lists}
        named = self.contents.named_indexes
        return (self.listed[digest] for digest in named if digest in below and digest in self.listed)

    def _indexes_v2(self) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == media_types.SOCI_INDEX_V2 and not one.is_archived
        )

    def _unreferenced(self, candidates: Iterable[Listed]) -> Iterator[Listed]:
        """Leave out candidates with a tag, and those that a document that stays lists or names."""
        contents = self.contents
        listed = {
            child
            for parent, children in contents.children.items()
            if parent not in self.orphans
            for child in children
        }
        named = {index for manifest, index in contents.named_indexes.items() if manifest not in self.orphans}
        referenced = listed | named
        return (one for one in candidates if not one.tags and one.digest not in referenced)

    def _v1_without_image(self) -> Iterator[Listed]:
        return (
            one
            for one in self._untagged(media_types.SOCI_INDEX_V1)
            if one.subject is not None and self._is_gone(one.subject)
        )

    def _profiles_without_image(self) -> Iterator[Listed]:
        """Yield profiles that nobody finds: a tag leads to that of a line, and only the image to its own."""
        return (
            one
            for one in self._untagged(media_types.START_PROFILE)
            if one.subject is None or self._is_gone(one.subject)
        )

    def _untagged(self, artifact_type: str) -> Iterator[Listed]:
        return (
            one
            for one in self.listed.values()
            if one.artifact_type == artifact_type and not one.tags and not one.is_archived
        )

    def _is_gone(self, image: Digest) -> bool:
        return image not in self.listed or image in self.orphans
