"""Delete orphans. Each is searched for again right before: tags and images may have been pushed meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from soci.errors import DeletionRefused, NotInImage
from soci.oci.digest import Digest
from soci.upkeep.clean.contents import ManifestFacts
from soci.upkeep.clean.find import find_orphans
from soci.upkeep.clean.orphans import Orphan, OrphanKind, Orphans, Wanted
from soci.upkeep.inventory import Inventory, Listed
from soci.upkeep.remove import Refusal

_FRESH_SECONDS = 1.0
"""A search is valid for this long, or for as long as it took if that is longer. So searching takes at most half of
the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanResult:
    """The result of a cleanup. After a refusal, rerunning resumes with the rest."""

    removed: tuple[Orphan, ...]
    refused: tuple[Refusal, ...]
    revived: tuple[Orphan, ...]
    """Orphans in use again: they have an original, an image or a tag again, or a kept document lists them."""


def remove_orphans(inventory: Inventory, repository: str, orphans: Orphans, wanted: Wanted) -> CleanResult:
    """Delete orphans in their order.

    Raises:
        RegistryError: the registry does not answer or does not delete at all. Earlier deletions are final.
    """
    removed: list[Orphan] = []
    refused: list[Refusal] = []
    revived: list[Orphan] = []
    kept: set[Digest] = set()
    recheck = _Recheck(inventory=inventory, repository=repository, wanted=wanted, facts=orphans.facts)
    for orphan in orphans.found:
        if {orphan.digest, orphan.subject} & kept or not recheck.is_orphan(orphan):
            revived.append(orphan)
            kept |= orphan.lists
            continue
        try:
            _delete(inventory, repository, orphan)
        except DeletionRefused as error:
            refused.append(Refusal(digest=orphan.digest, error=str(error)))
            kept |= orphan.lists
        else:
            removed.append(orphan)
            recheck.note_deleted(orphan)
    return CleanResult(removed=tuple(removed), refused=tuple(refused), revived=tuple(revived))


@dataclass(slots=True, kw_only=True)
class _Recheck:
    """Repeats the search before a deletion. It lists the repository again and reads only new documents."""

    inventory: Inventory
    repository: str
    wanted: Wanted
    facts: Mapping[Digest, ManifestFacts]
    listed: Mapping[Digest, Listed] = field(default_factory=dict)
    found: frozenset[Orphan] = frozenset()
    valid_until: float = 0.0
    deleted: dict[Digest, Listed] = field(default_factory=dict)
    """What was deleted. Searches count it as there, so that its parts remain orphans."""

    def is_orphan(self, orphan: Orphan) -> bool:
        """Tell whether the orphan is still one, with the same tags. One that was deleted meanwhile counts, too."""
        if time.monotonic() >= self.valid_until:
            self._search()
        if orphan.digest not in self.listed:
            return True
        if orphan not in self.found:
            return False
        if orphan.kind is not OrphanKind.TAG_WITHOUT_ORIGINAL:
            return True
        suffix = self.wanted.suffix or ""
        return all(
            self._fetch_digest(tag) == orphan.digest and self._fetch_digest(tag.removesuffix(suffix)) is None
            for tag in orphan.tags
        )

    def note_deleted(self, orphan: Orphan) -> None:
        """Remember that an orphan was deleted."""
        if not orphan.is_tag_alone and orphan.digest in self.listed:
            self.deleted[orphan.digest] = self.listed[orphan.digest]

    def _search(self) -> None:
        begun = time.monotonic()
        found = find_orphans(
            self.inventory, self.repository, self.wanted, known=self.facts, also=self.deleted
        )
        self.facts, self.listed, self.found = found.facts, found.listed, frozenset(found.found)
        now = time.monotonic()
        self.valid_until = now + max(_FRESH_SECONDS, now - begun)

    def _fetch_digest(self, tag: str) -> Digest | None:
        """Return what a tag names right now; None if there is no such tag."""
        try:
            return self.inventory.open_image(self.repository, tag).fetch_root().digest
        except NotInImage:
            return None


def _delete(inventory: Inventory, repository: str, orphan: Orphan) -> None:
    store = inventory.open_repository(repository)
    if orphan.is_tag_alone:
        for tag in orphan.tags:
            store.delete_tag(tag)
    else:
        store.delete_manifest(orphan.digest, subject=orphan.subject)
