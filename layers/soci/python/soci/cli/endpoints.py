"""From the references on the command line to the places that are read and written."""

from __future__ import annotations

from dataclasses import dataclass

from soci.errors import InvalidReference
from soci.oci.annotations import REF_NAME
from soci.oci.descriptor import Descriptor
from soci.oci.reference import (
    DEFAULT_TAG,
    MAX_TAG_LENGTH,
    DockerArchiveRef,
    OciLayoutRef,
    Reference,
    RegistryRef,
    full_image_name,
    parse_reference,
)
from soci.places.open import open_sink, open_source, open_store
from soci.places.ports import ImageSource, ImageStore

CONVERTED_SUFFIX = "-soci"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an image is read and where what is made of it is written; `sink is source` when both are one."""

    source: ImageSource
    sink: ImageStore
    source_reference: Reference
    sink_reference: Reference

    @property
    def where(self) -> str:
        """Name the place that is written to."""
        written = self.sink_reference
        return written.name if isinstance(written, RegistryRef) else str(written.path)


def open_places(image: str, destination: str | None) -> Places:
    """Open both ends of a run. Nothing is made yet.

    Raises:
        InvalidReference: a reference does not parse, or the place written to is an archive.
        SourceError: a place cannot be read or is no image's place.
    """
    reference = parse_reference(image)
    if destination is None:
        store = open_store(reference)
        return Places(source=store, sink=store, source_reference=reference, sink_reference=reference)
    target = parse_reference(destination)
    sink = open_sink(target)
    if _is_same_place(reference, target):
        store = open_store(reference)
        return Places(source=store, sink=store, source_reference=reference, sink_reference=target)
    return Places(source=open_source(reference), sink=sink, source_reference=reference, sink_reference=target)


def _is_same_place(one: Reference, other: Reference) -> bool:
    match one, other:
        case RegistryRef(), RegistryRef():
            return one.name == other.name
        case OciLayoutRef(), OciLayoutRef():
            return one.path.resolve() == other.path.resolve()
        case _:
            return False


def converted_tag(places: Places, root: Descriptor, *, is_converted: bool = False) -> str | None:
    """Return the tag of a converted image: the destination's, or the source's with `-soci` behind it.

    A converted image (told by content) that has the suffix keeps its tag, so that converting again changes
    nothing. None when the source was named by digest: then the result has no tag either.

    Raises:
        InvalidReference: the tag would be too long for a registry.
    """
    if places.sink_reference is not places.source_reference and (given := places.sink_reference.tag):
        return given
    name = source_tag(places, root)
    if name is None or (name.endswith(CONVERTED_SUFFIX) and is_converted):
        return name
    tag = name.rpartition(":")[2] + CONVERTED_SUFFIX  # in a layout, a tag may be a full image name
    if len(tag) > MAX_TAG_LENGTH:  # a layout would take more, but no registry takes the image then
        raise InvalidReference(
            f"tag {tag} would exceed {MAX_TAG_LENGTH} characters; name another in a destination"
        )
    return name + CONVERTED_SUFFIX


def copied_tag(places: Places, root: Descriptor) -> str | None:
    """Return the tag to give to an image that stays as it is: the destination's, or the source's.

    None when the image stays where it is, under the tag it has.
    """
    given = places.sink_reference.tag
    if places.sink is places.source:
        return None if given == places.source_reference.tag else given
    return given or source_tag(places, root)


def source_tag(places: Places, root: Descriptor) -> str | None:
    """Return the tag by which the source names the image, if it does; of a Docker name, what is behind it."""
    reference = places.source_reference
    if isinstance(reference, DockerArchiveRef):
        name = reference.tag
        return full_image_name(name).rpartition(":")[2] if name else root.annotations.get(REF_NAME)
    if reference.digest is not None:
        return None
    default = DEFAULT_TAG if isinstance(reference, RegistryRef) else root.annotations.get(REF_NAME)
    return reference.tag or default
