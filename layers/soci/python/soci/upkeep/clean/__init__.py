"""What indexing made for images that are gone, and taking it away.

    v1-without-image        an index of version 1 whose image is gone
    index-without-image     a SOCI index of version 2 that no image lists or names
    tag-without-original    only if asked: `1.4-soci`, a SOCI-enabled copy, where `1.4` and its image are gone
    copy-without-original   only if asked: a SOCI-enabled copy that has no tag, of an image that is gone

Only what is ours by its content goes, and only if nothing that stays leads to it. The last two are images that
somebody may run: nobody but the owner of the repository knows.
"""

from soci.upkeep.clean.apply import CleanResult, remove_orphans
from soci.upkeep.clean.find import Kept, KeptReason, Orphan, OrphanKind, Orphans, Wanted, find_orphans

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
