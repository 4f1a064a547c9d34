"""Start profiles for tests of the whole system: builds of a program, profiles of its start, what is prefetched."""

from __future__ import annotations

from typing import Any

from local.registry.store import Repository
from local.system.workflows import Execution
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.annotations import PROFILE_LINE
from soci.oci.platform import Platform
from soci.start.artifact import describe_profile, encode_profile_artifact
from soci.start.profile import FileRead, ReadRange, encode_profile, make_profile
from tests.builders import Image, file, gzip_of, image_of, noise, tar_of
from tests.e2e.service import SPAN_SIZE_BYTES, entries_of

LINE_TAG = "soci-profile-linux-amd64"


def build(number: int) -> Image:
    """A build of a program: its library stays, its own file changes, the file `old` is only in the first one."""
    library = tar_of(
        file("lib/a", noise(4 * SPAN_SIZE_BYTES, "a")), file("lib/b", noise(SPAN_SIZE_BYTES, "b"))
    )
    program = [file("bin/app", noise(100_000, f"app {number}"))]
    if number == 1:
        program.append(file("etc/old", noise(30_000, "old")))
    return image_of(gzip_of(library, level=1), gzip_of(tar_of(*program), level=1))


def profile(*paths: str) -> bytes:
    """A start that reads the first kilobyte of some files."""
    parts = (ReadRange(start=0, end=1_000, first_ms=1),)
    reads = [FileRead(path=path.encode(), first_ms=1, last_ms=1, ranges=parts) for path in paths]
    return encode_profile(make_profile(reads, platform=Platform.parse("linux/amd64")))


START = profile("/bin/app", "/etc/old", "/lib/b")


def set_line(repository: Repository, data: bytes) -> None:
    """Make bytes the profile of a repository's line, whatever they are, without an event."""
    repository.put_blob(EMPTY_CONFIG.data)
    repository.put_blob(data)
    artifact = encode_profile_artifact(describe_profile(data), subject=None, annotations={PROFILE_LINE: "*"})
    repository.put_manifest(artifact.data, tag=LINE_TAG)


def platform_of(execution: Execution) -> dict[str, Any]:
    (platform,) = execution.output["platforms"]
    return dict(platform)


def prefetched(repository: Repository, tag: str) -> int:
    """How many prefetch artifacts the index of a tag has."""
    [index] = [
        entry
        for entry in entries_of(repository, tag)
        if entry.get("artifactType") == media_types.SOCI_INDEX_V2
    ]
    layers = repository.manifests[index["digest"]].document["layers"]
    return [layer["mediaType"] for layer in layers].count(media_types.PREFETCH)
