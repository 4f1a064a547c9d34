"""The last step of a run: the tag. It moves only if it still means what was indexed, and may move at all."""

from __future__ import annotations

from enum import StrEnum

from soci.errors import NotInImage, TagImmutable
from soci.oci.descriptor import Descriptor
from soci.places.ports import ArtifactSink, ImageSource


class TagLeftAlone(StrEnum):
    """Why a tag was not set; what it should have pointed to is there all the same, under its digest."""

    SOURCE_MOVED = "source-moved"
    IMMUTABLE = "immutable"

    @property
    def sentence(self) -> str:
        """One sentence for a terminal or a log line."""
        return _SENTENCES[self]


_SENTENCES = {
    TagLeftAlone.SOURCE_MOVED: "The source's tag names another image now, so this one is out of date.",
    TagLeftAlone.IMMUTABLE: "The tag exists already, and the registry does not let it move.",
}


def push_tagged(
    source: ImageSource, indexed: Descriptor, sink: ArtifactSink, root: Descriptor, tag: str | None
) -> TagLeftAlone | None:
    """Make a pushed manifest an entry point, under the tag if that is right; say why if it is not.

    The source is asked once more what its reference means: layers take minutes to index, and a tag that moved
    on meanwhile must not be followed by one that lags behind. If it means `root` by now, somebody else did the
    same work and was faster: that is as it should be.

    Raises:
        SourceError: the source cannot be asked, or the sink did not take the tag.
    """
    if tag is not None and not _still_means(source, indexed, root):
        sink.push_root(root, None)
        return TagLeftAlone.SOURCE_MOVED
    try:
        sink.push_root(root, tag)
    except TagImmutable:
        sink.push_root(root, None)
        return TagLeftAlone.IMMUTABLE
    return None


def _still_means(source: ImageSource, indexed: Descriptor, root: Descriptor) -> bool:
    try:
        return source.fetch_root().digest in (indexed.digest, root.digest)
    except NotInImage:
        return False
