"""The image that a request names, before its platforms are read: it must exist, be an image, and be the right one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.index.classify import Content, classify
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageSource, SourceOpener
from soci.service.filter.rules import Rejection
from soci.service.messages import Decision, ImageRequest
from soci.service.outcomes import ImageReason

GONE = (NotInImage, BlobMissing)
"""Errors for an image that was deleted or archived, whole or in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """The image of a request, and where to read it."""

    request: ImageRequest
    """With the digest of the image."""
    source: ImageSource
    root: Descriptor


def find_image(request: ImageRequest, open_image: SourceOpener) -> FoundImage | Decision:
    """Find the image that a request names, or decide to skip it.

    Raises:
        IntegrityError: the root of the image is corrupt.
        NotInImage: a person named an image that does not exist. For an event or a re-index this is a decision.
        SourceError: the registry cannot be read.
    """
    source = open_image(request.repository, request.tag or str(request.digest))
    try:
        root = source.fetch_root()
        content = classify(root, source.fetch_manifest(root))
    except InvalidDocument as error:
        return Rejection(reason=ImageReason.NOT_AN_IMAGE, detail=str(error)).skip(request)
    except GONE as error:
        if request.is_by_hand:
            raise NotInImage(str(error)) from None
        return Rejection(reason=ImageReason.IMAGE_GONE, detail=str(error)).skip(request)
    request = replace(request, digest=request.digest or root.digest)
    rejection = _evaluate_root(request, root, content)
    return rejection.skip(request) if rejection else FoundImage(request=request, source=source, root=root)


def names_digest(source: ImageSource, digest: Digest | None) -> bool:
    """Tell whether a tag, at which a repository is open, names a digest. Raises `SourceError` if it cannot be read."""
    try:
        return source.fetch_root().digest == digest
    except (*GONE, InvalidDocument):
        return False


def _evaluate_root(request: ImageRequest, root: Descriptor, content: Content) -> Rejection | None:
    if request.digest != root.digest:
        return Rejection(reason=ImageReason.SUPERSEDED, detail=f"{request.tag} names {root.digest}")
    if content is Content.SOCI_INDEX:
        return Rejection(reason=ImageReason.OWN_ARTIFACT, detail="a SOCI index")
    if content is not Content.IMAGE:
        return Rejection(reason=ImageReason.NOT_AN_IMAGE, detail=f"an {content.name.lower()}")
    return None
