"""Start profiles in the messages between states. Only their descriptors travel; each function fetches what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.service.message_codec import Mark, Message


class ProfileOrigin(StrEnum):
    """What a profile belongs to."""

    IMAGE = "image"
    """It refers to this image."""
    LINE = "line"
    """It is that of the image's line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedProfile(Message):
    """The profile that decides the prefetch of one platform's image. The filter has read it."""

    digest: Digest
    """Of its JSON."""
    size: int
    origin: ProfileOrigin
    line: Annotated[str | None, Mark.OMITTED] = None
    """The pattern of the line, `*` for the whole repository; None if it is the image's own."""

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of its JSON."""
        return Descriptor(media_type=media_types.START_PROFILE, digest=self.digest, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedProfile(Message):
    """The profile that decided the prefetch of an index, and how much of it still fits the image."""

    digest: Digest
    origin: ProfileOrigin
    line: str | None = None
    files: int
    """How many files the profile names."""
    files_missing: int
    """How many of them the image does not have."""
    needed_bytes: int
    """The compressed bytes of all spans that the start needs of layers with a zTOC."""
    prefetched_bytes: int
    """Those of them that are prefetched."""
