"""A start profile that the service may use: read within bounds, and for the right platform."""

from __future__ import annotations

from soci.errors import InvalidDocument
from soci.oci.descriptor import Descriptor
from soci.oci.platform import Platform
from soci.places.ports import ImageSource
from soci.start.artifact import fetch_profile
from soci.start.profile import StartProfile

LIMIT_BYTES = 4 << 20
"""Room for some 25,000 files: ten times as many as the start of a large Python program reads. While they are read they
take 60 MB, or 130 if they are made for it. The filter has 512."""


def fetch_usable_profile(source: ImageSource, profile: Descriptor, platform: Platform) -> StartProfile:
    """Fetch and read a profile for one platform's image.

    Raises:
        InvalidDocument: it is too large, no profile, or for another platform.
        DigestMismatch, SizeMismatch, SourceError: its bytes are wrong, missing or cannot be read.
    """
    found = fetch_profile(source, profile, limit_bytes=LIMIT_BYTES)
    if found.platform is not None and not found.platform.matches(platform):
        raise InvalidDocument(f"start profile: for {found.platform}, want {platform}")
    return found
