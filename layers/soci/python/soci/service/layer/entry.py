"""What a table of zTOCs knows of one zTOC."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from soci.build.layer import RecompressedLayer
from soci.build.reuse import ReuseKey
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.service.layer_messages import parse_recompressed, recompressed_document

MAX_REPOSITORIES = 8
"""In one entry. One is enough; the others serve when it is deleted, or not ours to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A zTOC that was built, and the repositories that hold it."""

    ztoc: Digest
    size: int
    """Of the zTOC in bytes."""
    repositories: tuple[str, ...]
    """The latest first."""
    recompressed: RecompressedLayer | None = None
    """Of a zstd layer: the gzip layer that the zTOC is for, in the same repositories."""

    def also_in(self, repository: str) -> Entry:
        """Return the entry with one more repository."""
        others = [one for one in self.repositories if one != repository]
        return replace(self, repositories=(repository, *others)[:MAX_REPOSITORIES])

    def to_document(self) -> dict[str, object]:
        """Return the entry as plain values."""
        document: dict[str, object] = {
            "ztoc": str(self.ztoc),
            "size": self.size,
            "repositories": list(self.repositories),
        }
        if self.recompressed is not None:
            document["copy"] = recompressed_document(self.recompressed)
        return document

    @classmethod
    def from_document(cls, document: object, key: ReuseKey) -> Entry:
        """Read the entry of a key back. Raises `InvalidDocument` that names the path."""
        fields = Fields(document, f"row of {key}")
        recompressed = fields.optional_child("copy")
        return cls(
            ztoc=fields.digest("ztoc"),
            size=fields.size("size"),
            repositories=fields.strings("repositories")[:MAX_REPOSITORIES],
            recompressed=parse_recompressed(recompressed, key.layer) if recompressed else None,
        )


class ZtocCatalog(Protocol):
    """A table of zTOCs that builders of this stack built. It may forget entries, or be unavailable."""

    def find(self, key: ReuseKey) -> Entry | None:
        """Return the entry of a key; None if there is none.

        Raises `InvalidDocument` for an entry that cannot be read, or was not recorded by a builder for this key.
        """

    def record(self, key: ReuseKey, entry: Entry) -> None:
        """Write an entry in place of the one before. Only for a zTOC built from the layer itself."""

    def also_in(self, key: ReuseKey, entry: Entry, repository: str) -> None:
        """Add a repository to an entry that was found."""
