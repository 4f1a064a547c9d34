"""Put a start profile into a registry: as the profile of an image, or of a line of images."""

from __future__ import annotations

from collections.abc import Callable

from soci.errors import InvalidDocument, NotInImage, TagImmutable
from soci.index.document import Document
from soci.index.manifest import EMPTY_CONFIG
from soci.oci.annotations import PROFILE_LINE, PROFILE_REVISION
from soci.oci.descriptor import Descriptor
from soci.oci.platform import Platform
from soci.places.ports import ArtifactSink, ImageStore
from soci.start.artifact import (
    describe_profile,
    encode_profile_artifact,
    find_artifacts,
    parse_profile_artifact,
    revision_of,
)
from soci.start.line import line_tag


def push_profile(store: ImageStore, image: Descriptor, data: bytes) -> Document:
    """Make a profile that of an image, by an artifact that refers to the image's manifest. Return the artifact.

    Nothing is pushed if it is the image's profile already. Raises `SourceError`.
    """
    profile = describe_profile(data)
    newest = next(iter(find_artifacts(store, image)), None)
    revision = 1 if newest is None else revision_of(newest) + 1
    if newest is not None:
        there = _encode(profile, image, revision_of(newest))
        if there.descriptor.digest == newest.digest:
            return there
    made = _encode(profile, image, revision)
    _push(store, profile, data, made)
    store.push_root(made.descriptor, None)
    return made


def push_line_profile(
    open_tag: Callable[[str], ImageStore], pattern: str, platform: Platform, data: bytes
) -> tuple[str, Document]:
    """Make a profile that of a line of images, under the line's tag. Return the tag and the artifact.

    `open_tag` opens the repository at a tag.

    Raises:
        InvalidDocument: the tag names something else than a profile. It is left alone.
        TagImmutable: the registry does not let the tag move; the message says what to do.
        SourceError: the registry cannot be read or written.
    """
    tag = line_tag(pattern, platform)
    store = open_tag(tag)
    _check_tag_is_ours(store, tag)
    profile = describe_profile(data)
    made = encode_profile_artifact(profile, subject=None, annotations={PROFILE_LINE: pattern})
    _push(store, profile, data, made)
    try:
        store.push_root(made.descriptor, tag)
    except TagImmutable as error:
        raise TagImmutable(
            f"{error}; let it move, in ECR by the exclusion filter soci-profile* of the repository's tag mutability, "
            "or delete the tag and push again",
            status=error.status,
        ) from None
    return tag, made


def _check_tag_is_ours(store: ImageStore, tag: str) -> None:
    try:
        root = store.fetch_root()
    except NotInImage:
        return
    try:
        parse_profile_artifact(store.fetch_manifest(root), tag)
    except InvalidDocument as error:
        raise InvalidDocument(f"{error}; the tag is left alone, delete it first") from None


def _encode(profile: Descriptor, image: Descriptor, revision: int) -> Document:
    return encode_profile_artifact(
        profile, subject=image, annotations={PROFILE_REVISION: str(revision)} if revision else {}
    )


def _push(sink: ArtifactSink, profile: Descriptor, data: bytes, artifact: Document) -> None:
    for descriptor, content in ((EMPTY_CONFIG.descriptor, EMPTY_CONFIG.data), (profile, data)):
        if not sink.has_blob(descriptor):
            sink.push_blob(descriptor, (content,))
    sink.push_manifest(artifact.descriptor, artifact.data)
