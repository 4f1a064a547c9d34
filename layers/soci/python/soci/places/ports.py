"""The ports of places: reading an image, and writing artifacts.

OCI layouts and repositories implement both; archives only the first. Recipes, such as those in `soci.build.recipe` and
`soci.upkeep.remove`, do all input and output through these ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest


class ImageSource(Protocol):
    """A place to read one image from, with everything that it refers to.

    All methods raise `BlobMissing` for missing content, `SourceError` when the place cannot be read.
    """

    def fetch_root(self) -> Descriptor:
        """Describe the image manifest or index that the reference (tag or digest) points to."""

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """Return the bytes of a manifest, index or image config. Size and digest are checked, the size is limited."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a blob once, in chunks. The caller checks size and digest."""

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a blob; shorter only where the blob ends."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob exists."""


@runtime_checkable
class DescriptorSource(Protocol):
    """An optional port of sources: describe a manifest by its digest."""

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        """Return media type and size of a manifest. Raises `BlobMissing` when it does not exist."""


@runtime_checkable
class ReferrerSource(Protocol):
    """An optional port of sources: list the manifests with a given subject."""

    def fetch_referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """Describe the manifests of one artifact type with this subject, in the order of the place."""


@runtime_checkable
class CompleteSource(Protocol):
    """Some sources hold only whole images: what an index lists and the source lacks was deleted.

    A layout on disk does not promise this: tools copy single platforms together with the whole index.
    """

    holds_whole_images: Literal[True]


@runtime_checkable
class BlobMounter(Protocol):
    """An optional port of sinks: mount a blob of a source without moving its bytes."""

    def mount_blob(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Mount a blob of the source in this place; False when that is not possible."""


class Upload(Protocol):
    """A blob that is written before its digest is known."""

    def write(self, data: bytes) -> None:
        """Append bytes, any number of them."""

    def commit(self, digest: Digest) -> None:
        """Finish the blob. It exists from now on, under its digest."""

    def abort(self) -> None:
        """Discard the blob. Has no effect after `commit`."""


class ArtifactSink(Protocol):
    """A place to write blobs and manifests to. No tag shows them before `push_root`."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob exists, so that it need not be pushed."""

    def push_blob(self, descriptor: Descriptor, chunks: Iterable[bytes | bytearray]) -> None:
        """Write a blob and check its size and digest meanwhile. An error leaves nothing behind."""

    def start_upload(self) -> Upload:
        """Start writing a blob. The digest is known only at the end."""

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Write a manifest or index. All its blobs must exist."""

    def push_root(self, descriptor: Descriptor, tag: str | None) -> None:
        """Make a pushed manifest an entry point, with or without a tag. This is the last step of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A tag of a place with its manifest; in an OCI layout also an entry without a tag."""

    tag: str | None
    root: Descriptor
    """The manifest's descriptor, with the artifact type and annotations that the place knows."""
    data: bytes = field(repr=False)
    """The bytes of the manifest."""


class ImageStore(ImageSource, ArtifactSink, Protocol):
    """A place to read from and write to: an image in it can be indexed in place, and its index removed."""

    def fetch_entry_points(self) -> Iterator[EntryPoint]:
        """Yield all entry points. Lists of referrers under fallback tags are left out.

        Raises:
            SourceError, IntegrityError: an entry point cannot be read, so its references are unknown.
        """

    def delete_manifest(self, digest: Digest, *, subject: Digest | None = None) -> bool:
        """Delete a manifest, all tags that point to it, and its entry in its subject's list of referrers.

        False when the manifest does not exist; with `subject`, its entry is deleted even then. Raises
        `DeletionRefused` when the place keeps it, `SourceError` when it fails; then nothing has changed.
        """

    def delete_tag(self, tag: str) -> bool:
        """Delete a tag, not its manifest; False when the tag does not exist.

        Raises `TagNotDeletable` where only manifests can be deleted, `DeletionRefused`, `SourceError`.
        """

    def delete_blobs(self, digests: Collection[Digest]) -> int:
        """Delete those blobs and documents that nothing refers to any more; return how many.

        A registry does that itself, some time later, and returns 0 here.
        """


class ImageOpener(Protocol):
    """The function of a registry that opens images."""

    def __call__(self, repository: str, reference: str) -> ImageStore:
        """Open a repository at a tag or a digest. Only `fetch_root` finds out whether that exists."""


SourceOpener = Callable[[str, str], ImageSource]
"""As `ImageOpener`, for registries that may be read only: takes a repository, and a tag or a digest."""
