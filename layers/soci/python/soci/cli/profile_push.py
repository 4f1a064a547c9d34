"""`soci-index profile push`: put a start profile beside an image, where indexing finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from soci.cli.endpoints import open_endpoints
from soci.cli.options import ImageArgument, JsonOption
from soci.cli.profile_file import parse_profile_data, read_profile_data
from soci.cli.profile_images import ProfilePlatformOption, choose_image
from soci.cli.terminal import count_text, print_error, print_json, print_lines
from soci.errors import InvalidOption
from soci.oci.annotations import SOCI_INDEX_DIGEST
from soci.oci.platform import Platform
from soci.oci.reference import DockerArchiveRef, Reference
from soci.places.open import open_store
from soci.start.artifact import find_subject
from soci.start.line import WHOLE_REPOSITORY, check_line
from soci.start.push_profile import push_line_profile, push_profile


def push(
    image: ImageArgument,
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="A start profile; - is standard input.")],
    *,
    platform: ProfilePlatformOption = None,
    line: Annotated[
        bool,
        typer.Option("--line", help="Make it the profile of all images of the repository, too: of its line."),
    ] = False,
    line_tags: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="As --line, but only for images whose tags match. The deployment's `profile_lines` has to name it.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Push a start profile as an artifact that refers to the image. `convert` and `create` use it from then on.

    The image does not change. Without --platform the profile's own platform counts. A deployment uses the profile of an
    image, else that of its line. It is used for the next image that is pushed.
    """
    pattern = _pattern_of_line(line, line_tags)
    data = read_profile_data(profile)
    read = parse_profile_data(profile, data).profile
    wanted = None if platform is None else Platform.parse(platform)
    if wanted is not None and read.platform is not None and not wanted.matches(read.platform):
        raise InvalidOption(f"--platform {platform}: the profile is for {read.platform}")
    endpoints = open_endpoints(image, None)
    chosen = choose_image(endpoints.source, wanted or read.platform)
    subject = find_subject(endpoints.source, chosen)
    artifact = push_profile(endpoints.sink, subject, data)
    line_tag = pattern and _push_for_line(endpoints.sink_reference, pattern, chosen.platform, data)
    if as_json:
        print_json(
            {
                "image": str(subject.digest),
                "platform": str(chosen.platform),
                "artifact": str(artifact.descriptor.digest),
                "files": len(read.files),
                "starts": read.starts,
                "recorded_on": None if read.image is None else str(read.image),
                "line": pattern,
                "line_tag": line_tag,
            }
        )
    else:
        files, starts = count_text(len(read.files), "file"), count_text(read.starts, "start")
        print_lines(
            [
                f"pushed the profile of {starts}, {files}, as {artifact.descriptor.digest}",
                f"it refers to {subject.digest}, {chosen.platform}",
                *([f"it is the profile of the line {pattern}, under {line_tag}"] if line_tag else []),
            ]
        )
    if SOCI_INDEX_DIGEST in chosen.manifest.annotations and subject == chosen.descriptor:
        print_error(
            f"{image} is a SOCI-enabled image: push the profile to its original, which is what is indexed"
        )


def _pattern_of_line(line: bool, line_tags: str | None) -> str | None:  # noqa: FBT001 - as the command line gives it
    if line_tags is not None:
        return check_line(line_tags)
    return WHOLE_REPOSITORY if line else None


def _push_for_line(place: Reference, pattern: str, platform: Platform, data: bytes) -> str:
    """Make a profile that of a line in the place of an image. Return the line's tag."""
    assert not isinstance(place, DockerArchiveRef)  # noqa: S101 - nothing can be written there
    tag, _ = push_line_profile(
        lambda tag: open_store(replace(place, tag=tag, digest=None)), pattern, platform, data
    )
    return tag
