"""The ports through which bytes enter and leave: a place that holds an image, and one that takes artifacts.

An OCI layout and a repository of a registry are both; an archive is the first. The recipes in `soci.build.recipe` and
`soci.upkeep.remove` know nothing else of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest


class ImageSource(Protocol):
    """A place where one image and everything it refers to can be read.

    All methods raise `BlobMissing` for what is not there, `StorageError` when the place cannot be read.
    """

    def fetch_root(self) -> Descriptor:
        """Describe what the reference (tag or digest) points to: an image manifest or an image index."""

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest's, index's or image config's bytes, limited in size and checked against the descriptor."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a blob once, in chunks. Not checked: whoever consumes all of it checks size and digest."""

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a blob; shorter only where the blob ends."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob is at hand."""


@runtime_checkable
class DescriptorSource(Protocol):
    """What some sources can do besides: describe a manifest that is known by its digest alone."""

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        """Return media type and size of a manifest. Raises `BlobMissing` when it is not there."""


@runtime_checkable
class ReferrerSource(Protocol):
    """What some sources can do besides: tell which manifests refer to another one by their subject."""

    def fetch_referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """Describe the manifests of one artifact type whose subject this is, in the order of the place."""


@runtime_checkable
class CompleteSource(Protocol):
    """What some sources promise besides: what an index lists was there once. What is missing now is lost.

    On disk it may just as well have been left out: tools copy single platforms with the whole index.
    """

    holds_whole_images: Literal[True]


@runtime_checkable
class BlobMounter(Protocol):
    """What some sinks can do besides: take a blob over from a source without its bytes travelling."""

    def mount_blob(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Make a blob of the source one of this place; False when that is not possible."""


class Upload(Protocol):
    """A blob that is being written while nobody knows its digest yet."""

    def write(self, data: bytes) -> None:
        """Take the next bytes, any number of them."""

    def commit(self, digest: Digest) -> None:
        """End the blob: from now on it is there under its digest."""

    def abort(self) -> None:
        """Give it up; nothing is left of it. After `commit` there is nothing to give up."""


class ArtifactSink(Protocol):
    """A place that takes blobs and manifests. Nothing is visible under a tag before `push_root`."""

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob is there already, so that it need not be pushed."""

    def push_blob(self, descriptor: Descriptor, chunks: Iterable[bytes | bytearray]) -> None:
        """Write a blob, checked against size and digest while it is written; on any error nothing is left."""

    def start_upload(self) -> Upload:
        """Begin to write a blob whose digest shows at its end only."""

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Write a manifest or index whose blobs are all there."""

    def push_root(self, descriptor: Descriptor, tag: str | None) -> None:
        """Make a pushed manifest an entry point, under a tag if one is given: the last step of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """Something by which a place is entered: a tag, or an entry of an OCI layout, which may have none."""

    tag: str | None
    root: Descriptor
    """With artifact type and annotations, as far as the place tells them without a look at anything else."""
    data: bytes = field(repr=False)
    """The root's document."""


class ImageStore(ImageSource, ArtifactSink, Protocol):
    """A place that is both; an image in it can be indexed without a copy, and freed of its index."""

    def fetch_entry_points(self) -> Iterator[EntryPoint]:
        """Yield all that the place can be entered by; lists of referrers are none, they only tell what is there.

        Raises:
            SourceError, IntegrityError: one of them cannot be read, so nobody knows what it refers to.
        """

    def delete_manifest(self, digest: Digest, *, subject: Digest | None = None) -> bool:
        """Take a manifest away, with all tags that point to it and out of its subject's list of referrers.

        False when it is not there; if its subject is given, the list is put right all the same. Raises
        `DeletionRefused` when the place keeps it, `SourceError` when it fails; then everything is as it was.
        """

    def delete_tag(self, tag: str) -> bool:
        """Take a tag away and leave what it points to; False when it is not there.

        Raises `TagNotDeletable` where only manifests can be deleted, `DeletionRefused`, `SourceError`.
        """

    def delete_blobs(self, digests: Collection[Digest]) -> int:
        """Free those blobs and documents that nothing here refers to any more; return how many.

        A registry does that by itself, some time later: there it is 0.
        """


class ImageOpener(Protocol):
    """A registry, as the deployed functions see it."""

    def __call__(self, repository: str, reference: str) -> ImageStore:
        """Open a repository at a tag or a digest. Whether that is there shows in `fetch_root`."""


SourceOpener = Callable[[str, str], ImageSource]
"""As `ImageOpener`, for registries that may be read only: takes a repository, and a tag or a digest."""
