"""What came of a start profile when an image was indexed with it: a line, and a part of the JSON document."""

from __future__ import annotations

from collections.abc import Iterator

from soci.build.assemble import AssembledPlatform
from soci.build.recipe import BuildResult
from soci.cli.start_profiles import FoundProfiles
from soci.cli.terminal import count_text, size_text
from soci.image.filesystem import shown
from soci.reasons import LeftOut, Reason


def profile_document(one: AssembledPlatform, profiles: FoundProfiles) -> dict[str, object] | None:
    """Describe the use of a profile; None if none was used."""
    use = one.profile
    if use is None:
        return None
    return {
        "digest": str(use.digest),
        "from": profiles.origins[use.digest],
        "files": use.files,
        "missing_files": [shown(path) for path in use.missing],
        "renamed_files": {shown(before): shown(after) for before, after in use.renamed.items()},
        "needed_bytes": use.needed_bytes,
        "prefetched_bytes": use.prefetched_bytes,
        "left_off_spans": use.left_off_spans,
        "whole_layers": [
            str(part.descriptor.digest)
            for part in one.parts
            if isinstance(part.outcome, LeftOut) and part.outcome.reason is Reason.READ_WHOLE
        ],
    }


def profile_lines(result: BuildResult, profiles: FoundProfiles) -> list[str]:
    """Say for each platform how much of its profile fits the image, and how much of the start is prefetched."""
    return [line for one in result.platforms for line in _lines_of(one, profiles)]


def _lines_of(one: AssembledPlatform, profiles: FoundProfiles) -> Iterator[str]:
    use = one.profile
    if use is None:
        return
    origin = profiles.origins[use.digest]
    name = "the image's profile" if origin == "image" else f"profile {origin}"
    there = f"the image has {use.files - len(use.missing):,} of {count_text(use.files, 'file')}"
    renamed = f", {len(use.renamed):,} under another version" if use.renamed else ""
    yield f"{one.image.platform}  {name}: {there}{renamed}"
    left_off = f"; {count_text(use.left_off_spans, 'span')} exceed the budget" if use.left_off_spans else ""
    share = f"{size_text(use.prefetched_bytes)} of the {size_text(use.needed_bytes)} that the start needs"
    yield f"prefetch: {share}{left_off}"
