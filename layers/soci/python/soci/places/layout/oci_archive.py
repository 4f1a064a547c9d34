"""Tar files of an OCI layout, as `skopeo copy` to oci-archive: and `docker buildx` with type=oci write them."""

from __future__ import annotations

from pathlib import Path

from soci.oci.digest import Digest
from soci.places.layout.extents import Extent
from soci.places.layout.layout_source import LayoutSource
from soci.places.layout.tar_members import TarMembers


class OciArchive(LayoutSource):
    """An `ImageSource` over a plain tar file of a layout. Blobs are read in place."""

    def __init__(
        self,
        path: Path,
        *,
        tag: str | None = None,
        digest: Digest | None = None,
        members: TarMembers | None = None,
    ) -> None:
        super().__init__(path, tag=tag, digest=digest)
        self._members = TarMembers(path) if members is None else members

    def _find_file(self, name: str) -> Extent | None:
        return self._members.find(name)
