"""`soci-index profile pull`: the start profile that was pushed for an image."""

from __future__ import annotations

from soci.cli.options import ImageArgument, JsonOption
from soci.cli.profile_file import ProfileOutputOption
from soci.cli.profile_images import ProfilePlatformOption, choose_image
from soci.cli.streams import check_output, write_output
from soci.cli.terminal import count_text, print_json, print_lines
from soci.errors import InvalidOption, NotInImage
from soci.image.documents import PlatformImage
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest
from soci.oci.platform import Platform
from soci.oci.reference import parse_reference
from soci.places.open import open_source
from soci.places.ports import ImageSource
from soci.start.artifact import fetch_profile_data, find_artifacts_of, parse_profile_artifact
from soci.start.profile import parse_profile


def pull(
    image: ImageArgument,
    *,
    output: ProfileOutputOption = None,
    platform: ProfilePlatformOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the start profile that was pushed last for an image, or that of a line, named by the line's tag.

    --json prints a summary, so it takes -o.
    """
    if as_json and output is None:
        raise InvalidOption("--json prints a summary: -o FILE says where to write the profile")
    check_output(output)
    source = open_source(parse_reference(image))
    root = source.fetch_root()
    chosen, newest = None, root
    if not _is_profile(source, root):
        chosen = choose_image(source, None if platform is None else Platform.parse(platform))
        newest = _find_newest(source, chosen, image)
    artifact = parse_profile_artifact(source.fetch_manifest(newest), f"artifact {newest.digest}")
    data = fetch_profile_data(source, artifact.profile)
    read = parse_profile(data)
    write_output(output, data)
    if as_json:
        print_json(
            {
                "image": None if chosen is None else str(chosen.descriptor.digest),
                "platform": None if chosen is None else str(chosen.platform),
                "artifact": str(newest.digest),
                "files": len(read.files),
                "starts": read.starts,
                "output": str(output),
            }
        )
    elif output is not None:
        starts, files = count_text(read.starts, "start"), count_text(len(read.files), "file")
        print_lines([f"{starts}: {files}", f"written to {output}"])


def _is_profile(source: ImageSource, root: Descriptor) -> bool:
    """Tell whether a reference leads to the artifact of a profile, as the tag of a line does."""
    if not media_types.is_manifest(root.media_type):
        return False
    return ImageManifest.parse(source.fetch_manifest(root)).artifact_type == media_types.START_PROFILE


def _find_newest(source: ImageSource, chosen: PlatformImage, image: str) -> Descriptor:
    newest = next(iter(find_artifacts_of(source, chosen)), None)
    if newest is None:
        raise NotInImage(
            f"{image}: image {chosen.descriptor.digest} has no start profile; `profile push` gives it one"
        )
    return newest
