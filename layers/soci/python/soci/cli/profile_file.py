"""Start profiles in files."""

from __future__ import annotations

from pathlib import Path

from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.places.layout.extents import storage_errors
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import PROFILE_LIMIT_BYTES, parse_profile


def read_profile(path: Path) -> UsedProfile:
    """Read a profile from a file. Raises `StorageError`, `InvalidDocument`."""
    with storage_errors(path), path.open("rb") as file:
        data = file.read(PROFILE_LIMIT_BYTES + 1)
    try:
        return UsedProfile(profile=parse_profile(data), digest=digest_of(data))
    except InvalidDocument as error:
        raise InvalidDocument(f"{path}: {error}") from None
