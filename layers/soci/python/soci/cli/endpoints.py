"""The places that the references on a command line name, and the tags to write there."""

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
class Endpoints:
    """The place that an image is read from and the place that the result is written to.

    `sink is source` when both are the same.
    """

    source: ImageSource
    sink: ImageStore
    source_reference: Reference
    sink_reference: Reference

    @property
    def where(self) -> str:
        """Name the place of the result."""
        written = self.sink_reference
        return written.name if isinstance(written, RegistryRef) else str(written.path)


def open_endpoints(image: str, destination: str | None) -> Endpoints:
    """Open both endpoints. Nothing is written yet.

    Raises:
        InvalidReference: a reference does not parse, or the destination is an archive.
        SourceError: a place cannot be read or holds no image.
    """
    reference = parse_reference(image)
    if destination is None:
        store = open_store(reference)
        return Endpoints(source=store, sink=store, source_reference=reference, sink_reference=reference)
    target = parse_reference(destination)
    sink = open_sink(target)
    if _is_same_place(reference, target):
        store = open_store(reference)
        return Endpoints(source=store, sink=store, source_reference=reference, sink_reference=target)
    return Endpoints(
        source=open_source(reference), sink=sink, source_reference=reference, sink_reference=target
    )


def _is_same_place(one: Reference, other: Reference) -> bool:
    match one, other:
        case RegistryRef(), RegistryRef():
            return one.name == other.name
        case OciLayoutRef(), OciLayoutRef():
            return one.path.resolve() == other.path.resolve()
        case _:
            return False


def converted_tag(endpoints: Endpoints, root: Descriptor, *, is_converted: bool = False) -> str | None:
    """Return the tag for a converted image: the destination's, or the source's with `-soci` behind it.

    A source that is a converted image and has the suffix keeps its tag: converting again changes nothing. None when
    the source was named by digest.

    Raises:
        InvalidReference: the tag is longer than a registry allows. A layout could hold it, but no registry the image.
    """
    if endpoints.sink_reference is not endpoints.source_reference and (given := endpoints.sink_reference.tag):
        return given
    name = source_tag(endpoints, root)
    if name is None or (name.endswith(CONVERTED_SUFFIX) and is_converted):
        return name
    tag = name.rpartition(":")[2] + CONVERTED_SUFFIX  # in a layout, a tag may be a full image name
    if len(tag) > MAX_TAG_LENGTH:  # a layout would take more, but no registry takes the image then
        raise InvalidReference(
            f"tag {tag} would exceed {MAX_TAG_LENGTH} characters; name another in a destination"
        )
    return name + CONVERTED_SUFFIX


def unchanged_tag(endpoints: Endpoints, root: Descriptor) -> str | None:
    """Return the tag for an image that is not changed: the destination's, or the source's.

    None when the image stays in its place, under its tag.
    """
    given = endpoints.sink_reference.tag
    if endpoints.sink is endpoints.source:
        return None if given == endpoints.source_reference.tag else given
    return given or source_tag(endpoints, root)


def source_tag(endpoints: Endpoints, root: Descriptor) -> str | None:
    """Return the tag by which the source names the image; of a Docker name, the part behind the colon."""
    reference = endpoints.source_reference
    if isinstance(reference, DockerArchiveRef):
        name = reference.tag
        return full_image_name(name).rpartition(":")[2] if name else root.annotations.get(REF_NAME)
    if reference.digest is not None:
        return None
    default = DEFAULT_TAG if isinstance(reference, RegistryRef) else root.annotations.get(REF_NAME)
    return reference.tag or default
