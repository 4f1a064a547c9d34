"""From the references on the command line to the places that are read and written."""

from __future__ import annotations

from dataclasses import dataclass

from soci.errors import InvalidReference
from soci.layout.open import open_sink, open_source, open_store
from soci.oci.annotations import REF_NAME
from soci.oci.descriptor import Descriptor
from soci.oci.reference import OciLayoutRef, Reference, parse_reference
from soci.ports import ImageSource, ImageStore

CONVERTED_SUFFIX = "-soci"
MAX_TAG_LENGTH = 128
"""Of the distribution spec; a layout would take more, but then no registry takes the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an image is read and where what is made of it is written; `sink is source` when both are one."""

    source: ImageSource
    sink: ImageStore
    source_reference: Reference
    sink_reference: Reference


def open_places(image: str, destination: str | None) -> Places:
    """Open both ends of a run. Nothing is made yet.

    Raises:
        InvalidReference: a reference does not parse, or the place written to is an archive.
        SourceError: a place cannot be read or is no image's place.
    """
    reference = parse_reference(image)
    target = reference if destination is None else parse_reference(destination)
    if destination is None or _is_same_layout(reference, target):
        store = open_store(reference)
        return Places(source=store, sink=store, source_reference=reference, sink_reference=target)
    return Places(
        source=open_source(reference),
        sink=open_sink(target),
        source_reference=reference,
        sink_reference=target,
    )


def _is_same_layout(one: Reference, other: Reference) -> bool:
    both_layouts = isinstance(one, OciLayoutRef) and isinstance(other, OciLayoutRef)
    return both_layouts and one.path.resolve() == other.path.resolve()


def converted_tag(places: Places, root: Descriptor) -> str | None:
    """Return the tag of a converted image: the destination's, or the source's with `-soci` behind it.

    An image that has the suffix already keeps its tag, so that converting again changes nothing. None when the
    source was named by digest: then the result has no tag either.

    Raises:
        InvalidReference: the tag would be too long for a registry.
    """
    if places.sink_reference is not places.source_reference and (given := _tag_of(places.sink_reference)):
        return given
    tag = source_tag(places, root)
    if tag is None or tag.endswith(CONVERTED_SUFFIX):
        return tag
    if len(tag) + len(CONVERTED_SUFFIX) > MAX_TAG_LENGTH:
        raise InvalidReference(
            f"tag {tag}{CONVERTED_SUFFIX} would exceed {MAX_TAG_LENGTH} characters: name one"
        )
    return tag + CONVERTED_SUFFIX


def copied_tag(places: Places, root: Descriptor) -> str | None:
    """Return the tag of an image that is copied as it is: the destination's, or the source's."""
    return _tag_of(places.sink_reference) or source_tag(places, root)


def source_tag(places: Places, root: Descriptor) -> str | None:
    """Return the tag by which the source names the image, if it does."""
    reference = places.source_reference
    if getattr(reference, "digest", None) is not None:
        return None
    tag = _tag_of(reference) or root.annotations.get(REF_NAME)
    return None if tag is None else tag.rpartition(":")[2]


def _tag_of(reference: Reference) -> str | None:
    return reference.tag
