"""`soci-index profile push`: put a start profile beside an image, where indexing finds it."""

from __future__ import annotations

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
from soci.start.push_profile import push_profile


def push(
    image: ImageArgument,
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="A start profile; - is standard input.")],
    *,
    platform: ProfilePlatformOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push a start profile as an artifact that refers to the image. `convert` and `create` use it from then on.

    The image does not change. Without --platform the profile's own platform counts.
    """
    data = read_profile_data(profile)
    read = parse_profile_data(profile, data).profile
    wanted = None if platform is None else Platform.parse(platform)
    if wanted is not None and read.platform is not None and not wanted.matches(read.platform):
        raise InvalidOption(f"--platform {platform}: the profile is for {read.platform}")
    endpoints = open_endpoints(image, None)
    chosen = choose_image(endpoints.source, wanted or read.platform)
    artifact = push_profile(endpoints.sink, chosen.descriptor, data)
    if as_json:
        print_json(
            {
                "image": str(chosen.descriptor.digest),
                "platform": str(chosen.platform),
                "artifact": str(artifact.descriptor.digest),
                "files": len(read.files),
                "starts": read.starts,
                "recorded_on": None if read.image is None else str(read.image),
            }
        )
    else:
        files, starts = count_text(len(read.files), "file"), count_text(read.starts, "start")
        print_lines(
            [
                f"pushed the profile of {starts}, {files}, as {artifact.descriptor.digest}",
                f"it refers to {chosen.descriptor.digest}, {chosen.platform}",
            ]
        )
    if SOCI_INDEX_DIGEST in chosen.manifest.annotations:
        print_error(
            f"{image} is a SOCI-enabled image: push the profile to its original, which is what is indexed"
        )
