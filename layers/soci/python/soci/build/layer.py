"""Values about one layer that the recipes and the messages of the service share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest

_CHUNKED_ANNOTATIONS = "io.github.containers.zstd-chunked."
"""These describe zstd bytes. A gzip layer has none."""


class Reused(StrEnum):
    """Where a zTOC that was made before was found."""

    HERE = "here"
    """In the repository of the image."""
    MOUNTED = "mounted"
    """In another repository, and mounted from there."""
    COPIED = "copied"
    """In another repository that does not allow mounting."""
    CACHED = "cached"
    """In a directory. It is not in the destination yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecompressedLayer:
    """The gzip layer that stands for a zstd layer in a converted image. Both hold the same tar."""

    of: Digest
    """The zstd layer."""
    digest: Digest
    size: int

    def describe(self, layer: Descriptor) -> Descriptor:
        """Return the descriptor that replaces the zstd layer's."""
        kept = {
            key: value for key, value in layer.annotations.items() if not key.startswith(_CHUNKED_ANNOTATIONS)
        }
        return replace(
            layer,
            media_type=media_types.as_gzip(layer.media_type),
            digest=self.digest,
            size=self.size,
            annotations=kept,
        )
