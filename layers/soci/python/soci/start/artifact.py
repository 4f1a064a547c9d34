"""A start profile in a registry: an artifact that refers to an image, or holds a line's profile (docs/profiles.md).

schemaVersion, mediaType   of an OCI image manifest
artifactType               that of a start profile
config                     the two bytes {}, of the same type: ECR does not say which of the two types it lists
layers                     one: the profile's JSON
subject                    the image manifest that was started; a line's profile has none
annotations                the revision of an image's profile, the line of a line's
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from soci.errors import BlobMissing, InvalidDocument, NotInImage
from soci.image.documents import PlatformImage
from soci.index.document import Document, document_of
from soci.index.manifest import EMPTY_CONFIG
from soci.index.revert import manifest_without_index
from soci.oci import media_types
from soci.oci.annotations import PROFILE_REVISION, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.integrity import checked
from soci.oci.manifest import ImageManifest
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource
from soci.start.profile import PROFILE_LIMIT_BYTES, StartProfile, parse_profile

_REVISION_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileArtifact:
    """What the manifest of a profile's artifact says."""

    profile: Descriptor
    """The profile's JSON."""
    subject: Descriptor | None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def describe_profile(data: bytes) -> Descriptor:
    """Return the descriptor of a profile's JSON."""
    return document_of(media_types.START_PROFILE, data).descriptor


def encode_profile_artifact(
    profile: Descriptor, *, subject: Descriptor | None, annotations: Mapping[str, str]
) -> Document:
    """Return the manifest of a profile's artifact. `EMPTY_CONFIG` and the profile have to be pushed before it."""
    bare = subject and Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
    manifest = ImageManifest(
        artifact_type=media_types.START_PROFILE,
        config=replace(EMPTY_CONFIG.descriptor, media_type=media_types.START_PROFILE),
        layers=(profile,),
        subject=bare,
        annotations=annotations,
    )
    return document_of(media_types.OCI_MANIFEST, manifest.encode(), artifact_type=media_types.START_PROFILE)


def parse_profile_artifact(data: bytes, what: str) -> ProfileArtifact:
    """Read the manifest of a profile's artifact. `what` names it in messages.

    Raises:
        InvalidDocument: it is no manifest, or that of something else.
    """
    manifest = ImageManifest.parse(data, what)
    if manifest.artifact_type != media_types.START_PROFILE:
        kind = manifest.artifact_type or manifest.config.media_type
        raise InvalidDocument(f"{what}: {kind[:100]!r}, want a start profile, {media_types.START_PROFILE!r}")
    layers = manifest.layers or ()
    if len(layers) != 1 or layers[0].media_type != media_types.START_PROFILE:
        raise InvalidDocument(f"{what}: {len(layers)} layers, want one of type {media_types.START_PROFILE!r}")
    return ProfileArtifact(profile=layers[0], subject=manifest.subject, annotations=manifest.annotations)


def find_artifacts(source: ImageSource, image: Descriptor) -> Sequence[Descriptor]:
    """Describe the profile artifacts that refer to an image manifest, the newest first.

    A registry lists referrers in an order of its own, so each profile has a revision: one more than those before it.

    Raises:
        SourceError: the place cannot be read.
    """
    if not isinstance(source, ReferrerSource):
        return ()
    found = source.fetch_referrers(image.digest, media_types.START_PROFILE)
    return sorted(found, key=lambda one: (revision_of(one), one.digest), reverse=True)


def find_artifacts_of(source: ImageSource, image: PlatformImage) -> Sequence[Descriptor]:
    """Describe the profile artifacts of an image; of a SOCI-enabled one without its own, those of its original.

    Raises:
        SourceError: the place cannot be read.
    """
    own = find_artifacts(source, image.descriptor)
    if own or SOCI_INDEX_DIGEST not in image.manifest.annotations:
        return own
    return find_artifacts(source, manifest_without_index(image.manifest).descriptor)


def find_subject(source: ImageSource, image: PlatformImage) -> Descriptor:
    """Describe the manifest that the profile of an image is to refer to.

    That is the image itself, or of a SOCI-enabled one its original if the place has it, since that is what is indexed.
    Raises `SourceError` when the place cannot be read.
    """
    if SOCI_INDEX_DIGEST in image.manifest.annotations and isinstance(source, DescriptorSource):
        with suppress(BlobMissing, NotInImage):
            return source.fetch_descriptor(manifest_without_index(image.manifest).descriptor.digest)
    return image.descriptor


def revision_of(artifact: Descriptor) -> int:
    """Return the revision of a profile artifact; 0 if it says none."""
    text = artifact.annotations.get(PROFILE_REVISION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _REVISION_DIGITS else 0


def fetch_profile(
    source: ImageSource, profile: Descriptor, *, limit_bytes: int = PROFILE_LIMIT_BYTES
) -> StartProfile:
    """Fetch and read the profile of an artifact. Raises as `fetch_profile_data`, also if it is no profile."""
    return parse_profile(fetch_profile_data(source, profile, limit_bytes=limit_bytes))


def fetch_profile_data(
    source: ImageSource, profile: Descriptor, *, limit_bytes: int = PROFILE_LIMIT_BYTES
) -> bytes:
    """Fetch the bytes of an artifact's profile. The size is checked before a byte is fetched.

    Raises:
        InvalidDocument: it is too large.
        DigestMismatch, SizeMismatch, SourceError: its bytes are wrong, missing or cannot be read.
    """
    if profile.size > limit_bytes:
        raise InvalidDocument(f"start profile: {profile.size} bytes, the limit is {limit_bytes}")
    with source.open_blob(profile) as chunks:
        return b"".join(checked(profile, chunks))
