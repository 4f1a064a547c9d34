"""A document together with the descriptor that names it: what is pushed, and how others refer to it."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci.descriptor import Descriptor
from soci.oci.digest import digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Bytes and their descriptor; they fit each other."""

    descriptor: Descriptor
    data: bytes


def document_of(media_type: str, data: bytes, *, artifact_type: str = "") -> Document:
    """Describe some bytes."""
    descriptor = Descriptor(
        media_type=media_type, digest=digest_of(data), size=len(data), artifact_type=artifact_type
    )
    return Document(descriptor=descriptor, data=data)
