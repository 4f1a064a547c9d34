"""A start profile of a recording, compared with the image that was started if there is one."""

from __future__ import annotations

from dataclasses import dataclass

from soci.oci.digest import Digest
from soci.oci.platform import Platform
from soci.start.gathered import joined_path
from soci.start.locate import ImageContent
from soci.start.profile import MAX_MS, StartProfile, make_profile
from soci.start.recording import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedStart:
    """A profile, and how many paths of the recording are not in it."""

    profile: StartProfile
    left_out: int
    """Paths that lead to no file of the image, or lie outside of its root."""


def make_start_profile(
    recording: Recording,
    *,
    content: ImageContent | None = None,
    image: Digest | None = None,
    platform: Platform | None = None,
    root: bytes | None = None,
    limit_ms: int = MAX_MS,
) -> ImportedStart:
    """Make the profile of a recording.

    Args:
        recording: what was read.
        content: the files of the image; None keeps all paths as they are.
        image: the digest of the image manifest.
        platform: the platform of the start.
        root: where the image was on the recording machine; None if paths begin at the image's root.
        limit_ms: what is first read so long after the first read, or later, is left out.
    """
    left_out: set[bytes] = set()

    def resolve(path: bytes) -> bytes | None:
        inside = _inside(path, root)
        found = inside if content is None or inside is None else content.resolve(inside)
        if found is None:
            left_out.add(path)
        return found

    if content is not None:
        _add_interpreters(recording, content, root or b"/")
    files = recording.reads.files(limit_ms=limit_ms, resolve=resolve)
    if content is not None:
        files = [content.locate(one) for one in files]
    profile = make_profile(files, image=image, platform=platform)
    program = None if recording.program is None else resolve(recording.program)
    if program is None and content is not None:
        program = next((one.path for one in profile.files if content.is_program(one.path)), None)
    return ImportedStart(
        profile=make_profile(files, image=image, platform=platform, program=program), left_out=len(left_out)
    )


def _add_interpreters(recording: Recording, content: ImageContent, root: bytes) -> None:
    """Add what the kernel has read to execute the programs: no recording of calls shows it."""
    for path, at_ns in recording.executed.items():
        inside = _inside(path, root)
        for found in () if inside is None else content.interpreters_of(inside):
            recording.reads.add_whole(joined_path(root, found.lstrip(b"/")), at_ns)


def _inside(path: bytes, root: bytes | None) -> bytes | None:
    if root is None or root == b"/":
        return path
    below = path.removeprefix(root.rstrip(b"/") + b"/")
    return None if below == path else b"/" + below
