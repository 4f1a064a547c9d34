"""A document with its descriptor: the bytes to push, and what other documents refer to."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Bytes and their descriptor."""

    descriptor: Descriptor
    data: bytes


def document_of(media_type: str, data: bytes, *, artifact_type: str = "") -> Document:
    """Return bytes with their descriptor."""
    descriptor = Descriptor(
        media_type=media_type, digest=digest_of(data), size=len(data), artifact_type=artifact_type
    )
    return Document(descriptor=descriptor, data=data)
