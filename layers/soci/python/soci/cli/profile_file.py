"""Start profiles in files, as commands read and write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soci.cli.streams import input_name, open_input
from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.places.layout.extents import storage_errors
from soci.start.prefetch_source import UsedProfile
from soci.start.profile import PROFILE_LIMIT_BYTES, parse_profile

ProfileOutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the profile to this file, not to standard output."
    ),
]


def read_profile(path: Path) -> UsedProfile:
    """Read a profile from a file; `-` is standard input. Raises `StorageError`, `InvalidDocument`."""
    return parse_profile_data(path, read_profile_data(path))


def read_profile_data(path: Path) -> bytes:
    """Return the bytes of a profile's file, at most one more than a profile can have. Raises `StorageError`."""
    pieces: list[bytes] = []
    missing = PROFILE_LIMIT_BYTES + 1
    with open_input(path) as file:
        while missing:
            with storage_errors(input_name(path)):
                piece = file.read(missing)
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
    return b"".join(pieces)


def parse_profile_data(path: Path, data: bytes) -> UsedProfile:
    """Parse the bytes of a profile's file. Raises `InvalidDocument`, which names the file."""
    try:
        return UsedProfile(profile=parse_profile(data), digest=digest_of(data))
    except InvalidDocument as error:
        raise InvalidDocument(f"{input_name(path)}: {error}") from None
