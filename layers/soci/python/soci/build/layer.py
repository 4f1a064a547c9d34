"""Values about one layer that the recipes and the messages of the service share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest

_CHUNKED_ANNOTATIONS = "io.github.containers.zstd-chunked."
"""These describe zstd bytes. A gzip layer has none."""

_OF_THE_TAR = ("containerd.io/uncompressed", "containerd.io/snapshot/stargz/", "io.containers.estargz.")
"""These describe the tar by its digest or by positions in it, so they do not hold for another order."""


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
    """The gzip layer that stands for another layer in a converted image. Both hold the same entries."""

    of: Digest
    """The layer of the image. With the same tar it is a zstd layer."""
    digest: Digest
    size: int
    diff_id: Digest | None = None
    """The digest of the tar inside, if its entries are in another order; None if the tar is the same."""

    def describe(self, layer: Descriptor) -> Descriptor:
        """Return the descriptor that replaces the layer's."""
        dropped = (_CHUNKED_ANNOTATIONS, *(() if self.diff_id is None else _OF_THE_TAR))
        kept = {key: value for key, value in layer.annotations.items() if not key.startswith(dropped)}
        return replace(
            layer,
            media_type=media_types.as_gzip(layer.media_type),
            digest=self.digest,
            size=self.size,
            annotations=kept,
        )
