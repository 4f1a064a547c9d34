"""Find and delete what indexing made for images that are gone.

    v1-without-image        a version 1 index whose image is gone
    index-without-image     a version 2 SOCI index that no image lists or names
    profile-without-image   a start profile whose image is gone, or that of a line after its tag has moved on
    tag-without-original    only on request: `1.4-soci`, a converted image, where `1.4` and its image are gone
    copy-without-original   only on request: an untagged converted image whose original is gone

Only content that indexing made is deleted, and only if nothing that stays leads to it. The last two kinds are images
that somebody may still run: only the owner of the repository knows.
"""

from soci.upkeep.clean.apply import CleanResult, remove_orphans
from soci.upkeep.clean.find import find_orphans
from soci.upkeep.clean.orphans import Kept, KeptReason, Orphan, OrphanKind, Orphans, Wanted

__all__ = [
    "CleanResult",
    "Kept",
    "KeptReason",
    "Orphan",
    "OrphanKind",
    "Orphans",
    "Wanted",
    "find_orphans",
    "remove_orphans",
]
