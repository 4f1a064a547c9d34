"""Taking orphans away, each after a last look at what may have changed since they were found."""

from __future__ import annotations

from dataclasses import dataclass

from soci.errors import NotInImage, RegistryError
from soci.inventory import Inventory
from soci.oci.digest import Digest
from soci.orphans.find import Orphan, OrphanKind, Orphans, Wanted
from soci.remove import Refusal

_REFUSED = (400, 403, 405, 409)
"""What registries answer when they keep a manifest, such as one that an index has come to list meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanResult:
    """What came of it. The same call goes on with what is left."""

    removed: tuple[Orphan, ...]
    refused: tuple[Refusal, ...]
    revived: tuple[Orphan, ...]
    """Tags that have an original again, or name something else by now; and what is listed in what stays."""


def remove_orphans(inventory: Inventory, repository: str, orphans: Orphans, wanted: Wanted) -> CleanResult:
    """Take orphans away, in their order.

    Raises:
        RegistryError: the registry does not answer or does not delete at all; what is gone by then stays gone.
    """
    removed: list[Orphan] = []
    refused: list[Refusal] = []
    revived: list[Orphan] = []
    kept: set[Digest] = set()
    for orphan in orphans.found:
        if {orphan.digest, orphan.subject} & kept or _is_alive(inventory, repository, orphan, wanted):
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
    return CleanResult(removed=tuple(removed), refused=tuple(refused), revived=tuple(revived))


def _is_alive(inventory: Inventory, repository: str, orphan: Orphan, wanted: Wanted) -> bool:
    """Look once more at tags; what has none is kept by the registry itself while something lists it."""
    if orphan.kind is not OrphanKind.TAG_WITHOUT_ORIGINAL:
        return False
    return any(
        _named_by(inventory, repository, tag) != orphan.digest
        or _named_by(inventory, repository, tag.removesuffix(wanted.suffix or "")) is not None
        for tag in orphan.tags
    )


def _named_by(inventory: Inventory, repository: str, tag: str) -> Digest | None:
    try:
        return inventory.open_image(repository, tag).fetch_root().digest
    except NotInImage:
        return None


def _remove(inventory: Inventory, repository: str, orphan: Orphan) -> None:
    store = inventory.open_repository(repository)
    if orphan.is_tag_alone:
        for tag in orphan.tags:
            store.delete_tag(tag)
    else:
        store.delete_manifest(orphan.digest, subject=orphan.subject)
