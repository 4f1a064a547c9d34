"""Taking an index away and leaving the image: the way back when an index misbehaves.

    version 1    the index manifests that name an image manifest as subject go
    version 2    of an image beside its SOCI-enabled copy (`-soci`): the copy goes
                 of an image that is SOCI-enabled itself: the same layers under documents without the index take
                 its place under the tag, then the old documents go

What anybody else can reach stays: everything that the place can be entered by is looked at first, which is all tags
of a repository, all entries of a layout. What is known by its digest alone cannot be seen, nor what a run at the same
time is about to tag. An index of version 1 belongs to an image manifest, so it goes for all tags that lead to that one.

Whether the tags still mean the same is looked at again before anything changes. What is to go is written down first, in
a list under a tag of its own (`interrupted.py`), because what refers to others has to go before them: who was
interrupted, or refused, finds the rest by that list when he does the same again. The list goes last; in a layout, its
own two small blobs are all that an interruption can leave behind.
"""

from soci.upkeep.remove.apply import Refusal, RemovalResult, remove_index
from soci.upkeep.remove.find import Removal, TaggedSource, Target, fetch_removal

__all__ = [
    "TaggedSource",
    "Refusal",
    "Removal",
    "RemovalResult",
    "Target",
    "fetch_removal",
    "remove_index",
]
