"""Lines of images: builds of the same program, which share a start profile (docs/adr/0052).

A line is all images of a repository, or those whose tags match a pattern. Its profile lies in the repository under a
tag of its own, one for each platform:

    soci-profile-linux-amd64                    of the whole repository
    soci-profile-5f2c61d0ab93-linux-arm64       of a pattern; the digits are the beginning of its SHA-256

Whoever pushes chooses a tag, so a tag alone says nothing: it must name a profile's artifact that names the line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from soci.errors import InvalidDocument, InvalidOption
from soci.oci.annotations import PROFILE_LINE
from soci.oci.platform import Platform
from soci.oci.reference import MAX_TAG_LENGTH
from soci.start.artifact import ProfileArtifact

WHOLE_REPOSITORY = "*"
"""The pattern of the line that all images of a repository belong to."""

_TAG = "soci-profile"
_DIGEST_DIGITS = 12
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,128}")


def check_line(pattern: str) -> str:
    """Return the pattern of a line. Raises `InvalidOption` if no tag can match it."""
    if not _PATTERN.fullmatch(pattern):
        raise InvalidOption(
            f"line {pattern[:150]!r}: want a pattern of tags, 1 to 128 letters, digits and `. _ - * ?`"
        )
    return pattern


def line_tag(pattern: str, platform: Platform) -> str:
    """Return the tag of a line's profile for a platform."""
    usual = platform.normalized()
    short = hashlib.sha256(pattern.encode()).hexdigest()[:_DIGEST_DIGITS]
    names = (
        () if pattern == WHOLE_REPOSITORY else (short,),
        (usual.os, usual.architecture, usual.variant),
    )
    return "-".join(
        [_TAG, *(re.sub(r"[^A-Za-z0-9_.]", "_", name) for part in names for name in part if name)]
    )[:MAX_TAG_LENGTH]


def lines_of(tag: str | None, patterns: Sequence[str]) -> Iterator[str]:
    """Yield the lines of an image with a tag: those whose pattern fits it, in their order, then the repository's."""
    yield from (
        one for one in patterns if one != WHOLE_REPOSITORY and tag is not None and fnmatchcase(tag, one)
    )
    yield WHOLE_REPOSITORY


def check_is_of_line(artifact: ProfileArtifact, pattern: str, what: str) -> None:
    """Check that an artifact is the profile of a line. Raises `InvalidDocument`."""
    line = artifact.annotations.get(PROFILE_LINE)
    if line != pattern:
        got = "of no line" if line is None else f"of the line {line[:128]!r}"
        raise InvalidDocument(f"{what}: a start profile {got}, want {pattern!r}")
