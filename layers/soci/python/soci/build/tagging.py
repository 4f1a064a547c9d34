"""The last step of a run: the tag. It is set only if the source's tag still names the image that was indexed."""

from __future__ import annotations

from enum import StrEnum

from soci.errors import NotInImage, TagImmutable
from soci.oci.descriptor import Descriptor
from soci.places.ports import ArtifactSink, ImageSource


class TagLeftAlone(StrEnum):
    """Why a tag was not set."""

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
    """Make a pushed manifest an entry point, with its tag if the tag is still right.

    Indexing takes minutes, and the source's tag may have moved meanwhile. So the source's reference is read again: it
    must name the image that was indexed, or `root`, if another run with the same result was faster.

    Returns None, or why the tag was not set.

    Raises:
        SourceError: the source cannot be read, or the sink does not accept the tag.
    """
    if tag is not None and not _still_names(source, indexed, root):
        sink.push_root(root, None)
        return TagLeftAlone.SOURCE_MOVED
    try:
        sink.push_root(root, tag)
    except TagImmutable:
        sink.push_root(root, None)
        return TagLeftAlone.IMMUTABLE
    return None


def _still_names(source: ImageSource, indexed: Descriptor, root: Descriptor) -> bool:
    try:
        return source.fetch_root().digest in (indexed.digest, root.digest)
    except NotInImage:
        return False
