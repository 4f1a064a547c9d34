"""Remove the index of an image and keep the image.

    version 1    deletes the SOCI indexes whose subject is an image manifest of this image
    version 2    if the converted image has a tag of its own (`-soci`): deletes the converted image
                 if the image itself is SOCI-enabled: pushes the same image without its index, moves the tag there,
                 then deletes the old documents

Documents that another tag, or another entry of a layout, leads to are kept. Two things are not seen: content that only
its digest leads to, and tags that a concurrent run is about to set. A version 1 index belongs to an image manifest, so
its removal affects all tags of that manifest.

Before any change, the tags are compared with what was found. Then the list of all removals is pushed under a tag of its
own (`removal_list.py`), because referring documents must be deleted first. Rerunning resumes from the list. The list
itself is deleted last. In a layout, an interruption can leave the two small blobs of the list behind.
"""

from soci.upkeep.remove.apply import Refusal, RemovalResult, remove_index
from soci.upkeep.remove.find import Removal, TaggedSource, Target, fetch_removal

__all__ = [
    "Refusal",
    "Removal",
    "RemovalResult",
    "TaggedSource",
    "Target",
    "fetch_removal",
    "remove_index",
]
