"""`soci-index profile merge`: one profile of several starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soci.cli.options import JsonOption
from soci.cli.profile_file import ProfileOutputOption, read_profile
from soci.cli.streams import check_output, write_output
from soci.cli.terminal import count_text, print_json, print_lines
from soci.errors import InvalidOption
from soci.start.merge import merge_profiles
from soci.start.profile import encode_profile


def merge(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="PROFILE...", help="Start profiles of one platform.")
    ],
    *,
    output: ProfileOutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge the profiles of several starts: what any of them read, at the earliest time that one needed it.

    The order of the profiles does not matter. --json prints a summary, so it takes -o.
    """
    if as_json and output is None:
        raise InvalidOption("--json prints a summary: -o FILE says where to write the profile")
    check_output(output)
    merged = merge_profiles(read_profile(path).profile for path in profiles)
    write_output(output, encode_profile(merged))
    in_all = sum(1 for one in merged.files if one.starts == merged.starts)
    if as_json:
        print_json(
            {
                "profiles": len(profiles),
                "starts": merged.starts,
                "files": len(merged.files),
                "in_every_start": in_all,
                "image": None if merged.image is None else str(merged.image),
                "platform": None if merged.platform is None else str(merged.platform),
                "output": str(output),
            }
        )
    elif output is not None:
        starts, files = count_text(merged.starts, "start"), count_text(len(merged.files), "file")
        print_lines([f"{starts}: {files}, {in_all:,} in each start", f"written to {output}"])
