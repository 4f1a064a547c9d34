"""Taking orphans away, each only while a search still finds it: tags and images may have come meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from soci.errors import NotInImage, RegistryError
from soci.oci.digest import Digest
from soci.upkeep.clean.contents import ManifestFacts
from soci.upkeep.clean.find import Orphan, OrphanKind, Orphans, Wanted, find_orphans
from soci.upkeep.inventory import Inventory, Listed
from soci.upkeep.remove import Refusal

_REFUSED = (400, 403, 405, 409)
"""What registries answer when they keep a manifest, such as one that an index has come to list meanwhile."""

_FRESH_SECONDS = 1.0
"""How long a search counts, or as long as it took: half of the time goes to searching at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanResult:
    """What came of it. The same call goes on with what is left."""

    removed: tuple[Orphan, ...]
    refused: tuple[Refusal, ...]
    revived: tuple[Orphan, ...]
    """What is in use by now: it has an original, an image or a tag again, or is listed in what stays."""


def remove_orphans(inventory: Inventory, repository: str, orphans: Orphans, wanted: Wanted) -> CleanResult:
    """Take orphans away, in their order.

    Raises:
        RegistryError: the registry does not answer or does not delete at all; what is gone by then stays gone.
    """
    removed: list[Orphan] = []
    refused: list[Refusal] = []
    revived: list[Orphan] = []
    kept: set[Digest] = set()
    last_look = _LastLook(inventory=inventory, repository=repository, wanted=wanted, facts=orphans.facts)
    for orphan in orphans.found:
        if {orphan.digest, orphan.subject} & kept or not last_look.is_orphan(orphan):
            revived.append(orphan)
            kept |= orphan.lists
            continue
        try:
            _remove(inventory, repository, orphan)
        except RegistryError as error:
            if error.status not in _REFUSED:
                raise
            refused.append(Refusal(digest=orphan.digest, error=str(error)))
            kept |= orphan.lists
        else:
            removed.append(orphan)
            last_look.forget(orphan)
    return CleanResult(removed=tuple(removed), refused=tuple(refused), revived=tuple(revived))


@dataclass(slots=True, kw_only=True)
class _LastLook:
    """Searches anew before something goes. The list is read again, documents are not: their digest names them."""

    inventory: Inventory
    repository: str
    wanted: Wanted
    facts: Mapping[Digest, ManifestFacts]
    listed: Mapping[Digest, Listed] = field(default_factory=dict)
    found: frozenset[Orphan] = frozenset()
    good_until: float = 0.0
    gone: dict[Digest, Listed] = field(default_factory=dict)
    """What was taken away. What only that led to is an orphan because it was there."""

    def is_orphan(self, orphan: Orphan) -> bool:
        """Tell whether the orphan is one still, with the same tags. What went by itself meanwhile is one."""
        if time.monotonic() >= self.good_until:
            self._search()
        if orphan.digest not in self.listed:
            return True
        if orphan not in self.found:
            return False
        if orphan.kind is not OrphanKind.TAG_WITHOUT_ORIGINAL:
            return True
        suffix = self.wanted.suffix or ""
        return all(
            self._names(tag) == orphan.digest and self._names(tag.removesuffix(suffix)) is None
            for tag in orphan.tags
        )

    def forget(self, orphan: Orphan) -> None:
        """Note that an orphan was taken away."""
        if not orphan.is_tag_alone and orphan.digest in self.listed:
            self.gone[orphan.digest] = self.listed[orphan.digest]

    def _search(self) -> None:
        begun = time.monotonic()
        seen = find_orphans(self.inventory, self.repository, self.wanted, known=self.facts, also=self.gone)
        self.facts, self.listed, self.found = seen.facts, seen.listed, frozenset(seen.found)
        now = time.monotonic()
        self.good_until = now + max(_FRESH_SECONDS, now - begun)

    def _names(self, tag: str) -> Digest | None:
        """Ask for a tag by itself: that costs a request, and an image is not removed often."""
        try:
            return self.inventory.open_image(self.repository, tag).fetch_root().digest
        except NotInImage:
            return None


def _remove(inventory: Inventory, repository: str, orphan: Orphan) -> None:
    store = inventory.open_repository(repository)
    if orphan.is_tag_alone:
        for tag in orphan.tags:
            store.delete_tag(tag)
    else:
        store.delete_manifest(orphan.digest, subject=orphan.subject)
