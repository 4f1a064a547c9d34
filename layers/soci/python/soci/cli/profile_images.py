"""The image of one platform that a start profile is for."""

from __future__ import annotations

from typing import Annotated

import typer

from soci.errors import NotInImage
from soci.image.documents import PlatformImage, Platforms, choose_images, fetch_image
from soci.oci.platform import Platform
from soci.places.ports import ImageSource

ProfilePlatformOption = Annotated[
    str | None,
    typer.Option(
        "--platform", "-p", metavar="OS/ARCH[/VARIANT]", help="Choose a platform of a multi-platform image."
    ),
]


def choose_image(source: ImageSource, platform: Platform | None) -> PlatformImage:
    """Find the image of a platform; by default that of this machine, or the only one.

    Raises:
        NotInImage: the image lacks the platform, or has several and none is that of this machine.
        IntegrityError, SourceError: a document is missing or corrupt.
    """
    image = fetch_image(source)
    chosen = choose_images(image, Platforms.HOST if platform is None else [platform])
    if len(chosen) > 1:
        there = ", ".join(str(one.platform) for one in chosen)
        raise NotInImage(
            f"image {image.root.digest} has several platforms, choose one with --platform: {there}"
        )
    return chosen[0]
