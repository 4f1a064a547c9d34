"""The list of what is to go: an artifact of its own that outlives an interruption, and goes last.

    config, layers   the two bytes {}, as artifacts without content have
    artifactType     `application/vnd.soci-index.removal.v1`
    annotations      the image; digests of manifests, in the order in which they may go; digests of blobs

Digests stand in annotations, for what a manifest lists as its own is kept for its sake.
"""

from __future__ import annotations

from dataclasses import dataclass

from soci.index.document import Document, document_of
from soci.index.manifest import EMPTY_CONFIG
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.places.ports import EntryPoint

_IMAGE = "soci-index.removal.image"
_MANIFESTS = "soci-index.removal.manifests"
_BLOBS = "soci-index.removal.blobs"

TAG_PREFIX = "soci-removal-"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalList:
    """What of one image is to go. `image` is its tag, or its digest if it was named by that."""

    image: str
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]

    def encode(self) -> Document:
        """Write the artifact."""
        manifest = ImageManifest(
            artifact_type=media_types.REMOVAL,
            config=EMPTY_CONFIG.descriptor,
            layers=(EMPTY_CONFIG.descriptor,),
            annotations={
                _IMAGE: self.image,
                _MANIFESTS: " ".join(map(str, self.manifests)),
                _BLOBS: " ".join(map(str, self.blobs)),
            },
        )
        return document_of(media_types.OCI_MANIFEST, manifest.encode(), artifact_type=media_types.REMOVAL)

    @classmethod
    def parse(cls, manifest: ImageManifest) -> RemovalList:
        """Read the artifact. Raises `InvalidDocument`."""
        annotations = manifest.annotations
        return cls(
            image=annotations.get(_IMAGE, ""),
            manifests=_digests(annotations.get(_MANIFESTS, "")),
            blobs=_digests(annotations.get(_BLOBS, "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedRemoval:
    """What an earlier run of the same left: its list, and what that one names."""

    digest: Digest
    rest: RemovalList


def parse_interrupted(entry_point: EntryPoint, image: str) -> InterruptedRemoval | None:
    """Return the list of an interrupted removal of an image, if that is what lies there."""
    root = entry_point.root
    if root.artifact_type != media_types.REMOVAL:
        return None
    rest = RemovalList.parse(ImageManifest.parse(entry_point.data, f"list {root.digest}"))
    return InterruptedRemoval(digest=root.digest, rest=rest) if rest.image == image else None


def _digests(text: str) -> tuple[Digest, ...]:
    return tuple(map(Digest.parse, text.split()))
