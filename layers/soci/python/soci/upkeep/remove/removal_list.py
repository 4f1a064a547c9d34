"""The list of everything that a removal deletes: an artifact that lets a rerun resume.

    config, layers   the two bytes `{}`, as in every artifact without content
    artifactType     `application/vnd.soci-index.removal.v1`
    annotations      the image; the digests of manifests, in the order of deletion; the digests of blobs

The digests are annotations because a registry keeps everything that a manifest lists as a layer.
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
    """What to delete for one image. `image` is its tag, or its digest if the user named the digest."""

    image: str
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]

    def encode(self) -> Document:
        """Return the artifact's manifest."""
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
        """Parse the artifact's manifest. Raises `InvalidDocument`."""
        annotations = manifest.annotations
        return cls(
            image=annotations.get(_IMAGE, ""),
            manifests=_parse_digests(annotations.get(_MANIFESTS, "")),
            blobs=_parse_digests(annotations.get(_BLOBS, "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedRemoval:
    """The list that an earlier, interrupted removal left."""

    digest: Digest
    """Of the list itself."""
    rest: RemovalList


def parse_interrupted(entry_point: EntryPoint, image: str) -> InterruptedRemoval | None:
    """Return the list of an interrupted removal of an image, if the entry point is one."""
    root = entry_point.root
    if root.artifact_type != media_types.REMOVAL:
        return None
    rest = RemovalList.parse(ImageManifest.parse(entry_point.data, f"list {root.digest}"))
    return InterruptedRemoval(digest=root.digest, rest=rest) if rest.image == image else None


def _parse_digests(text: str) -> tuple[Digest, ...]:
    return tuple(map(Digest.parse, text.split()))
