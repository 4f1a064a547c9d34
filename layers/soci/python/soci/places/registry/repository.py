"""A repository of a registry: the ports of `soci.places.ports` over the OCI distribution spec.

Manifests are under `/manifests`, by tag or digest; configs, layers and zTOCs under `/blobs`. Manifests stay in
memory once they were read or written: they are small, and a recipe needs some of them twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Literal

from soci.errors import BlobMissing, DeletionRefused, InvalidDocument, RegistryError
from soci.oci import gojson, media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.image_config import CONFIG_LIMIT_BYTES
from soci.oci.integrity import check_content, checked
from soci.oci.manifest import MANIFEST_LIMIT_BYTES, ImageIndex, ImageManifest
from soci.oci.reference import DEFAULT_TAG, RegistryRef
from soci.places.ports import EntryPoint, ImageSource
from soci.places.registry.blob_existence import has_blob
from soci.places.registry.blob_reader import BlobReader, StreamSettings
from soci.places.registry.blob_upload import StreamedUpload, Uploads
from soci.places.registry.client import ANSWER_LIMIT_BYTES, RegistryClient
from soci.places.registry.manifests import Manifests
from soci.places.registry.pagination import fetch_pages
from soci.places.registry.referrers import Referrers, describe_referrer, is_fallback_tag
from soci.places.registry.token_scopes import Scopes
from soci.places.registry.urls import redacted

TAGS_PER_PAGE = 1_000
TAGS_AT_ONCE = 8
"""Tags that are read at the same time: a repository may have thousands."""

_REFERRED_TO = (400, 403, 409)
"""Statuses of registries that keep a manifest because something refers to it. They do not agree on one."""


class RegistryRepository:
    """`ImageStore`, with all optional ports. Shared by threads.

    The image is the one with the digest of the reference, else with its tag, else `latest`.
    """

    holds_whole_images: Literal[True] = True
    """See `ports.CompleteSource`: a registry refuses an index whose manifests are missing."""

    def __init__(
        self, client: RegistryClient, reference: RegistryRef, *, streaming: StreamSettings | None = None
    ) -> None:
        self.reference = reference
        self._client = client
        self._streaming = streaming or StreamSettings()
        self._scopes = Scopes(repository=reference.repository)
        self.url = f"{client.base_url}/v2/{reference.repository}"
        self._manifests = Manifests(client, self.url, self._scopes)
        self._referrers = Referrers(client, self.url, self._scopes, self._manifests)
        self._uploads = Uploads(client, f"{self.url}/blobs", self._scopes.push)
        self._documents: dict[Digest, tuple[Descriptor, bytes]] = {}
        self._readers: dict[Digest, BlobReader] = {}

    def __str__(self) -> str:
        return self.reference.name

    # ImageSource

    def fetch_root(self) -> Descriptor:
        """Describe the image. Each call reads a tag again.

        Raises `NotInImage` when it does not exist; `IntegrityError`, `RegistryError` as `Manifests.fetch`.
        """
        wanted = self.reference.digest or self.reference.tag or DEFAULT_TAG
        found = self._documents.get(wanted) if isinstance(wanted, Digest) else None
        found = found or self._manifests.fetch_existing(wanted)
        self._documents[found[0].digest] = found
        return found[0]

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, size-limited and checked. See `ports.ImageSource`."""
        is_blob = not _is_document(descriptor)
        limit_bytes = CONFIG_LIMIT_BYTES if is_blob else MANIFEST_LIMIT_BYTES
        if descriptor.size > limit_bytes:
            raise InvalidDocument(
                f"{descriptor.digest}: {descriptor.size} bytes, the limit for such a document is {limit_bytes}"
            )
        if is_blob:
            data = self.fetch_range(descriptor, 0, descriptor.size)
        else:
            _, data = self._fetch_document(descriptor.digest)
        check_content(descriptor, data)
        return data

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob by several ranges at a time, with retries. See `BlobReader`."""
        with self._reader(descriptor).open(self._streaming) as chunks:
            yield chunks

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a blob. See `ports.ImageSource`."""
        return b"".join(self._reader(descriptor).fetch(start, min(end, descriptor.size)))

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob or manifest exists, with its full size.

        A manifest is read and stays in memory, because the caller usually reads it next.
        """
        if _is_document(descriptor):
            try:
                return len(self._fetch_document(descriptor.digest)[1]) == descriptor.size
            except BlobMissing:
                return False
        url = f"{self.url}/blobs/{descriptor.digest}"
        return has_blob(self._client, url, descriptor.digest, descriptor.size, self._scopes.pull)

    # DescriptorSource, ReferrerSource

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        """Return media type and size of a manifest. Raises `BlobMissing` when it does not exist."""
        return self._fetch_document(digest)[0]

    def fetch_referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """Describe the manifests of one artifact type with this subject. See `ports.ReferrerSource`."""
        # Filtered here: a registry need not filter, and the list under the fallback tag has all types.
        return [entry for entry in self._referrers.fetch(subject) if entry.artifact_type == artifact_type]

    # ArtifactSink, BlobMounter

    def push_blob(self, descriptor: Descriptor, chunks: Iterable[bytes | bytearray]) -> None:
        """Write a blob, in parts if it is large. See `ports.ArtifactSink`."""
        self._uploads.push(descriptor.digest, checked(descriptor, chunks))

    def mount_blob(self, descriptor: Descriptor, source: ImageSource) -> bool:
        """Mount a blob from another repository of this registry; False when that is not possible."""
        if not isinstance(source, RegistryRepository) or source.reference.host != self.reference.host:
            return False
        scopes = self._scopes.mount_from(source._scopes)  # noqa: SLF001 - of the same class
        return self._uploads.mount(descriptor.digest, source.reference.repository, scopes)

    def start_upload(self) -> StreamedUpload:
        """Start writing a blob. The digest is known only at the end. Raises `RegistryError`."""
        return StreamedUpload(self._uploads.start())

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Write a manifest under its digest, and list it as a referrer of its subject. Raises `RegistryError`.

        An existing manifest is not sent again. One with a subject is sent again unless it is the first of its
        type among the referrers, because readers use the first.
        """
        check_content(descriptor, data)
        self._documents[descriptor.digest] = (descriptor, data)
        document = _parse(descriptor, data)
        subject, entry = document.subject, describe_referrer(descriptor, document)
        is_there = self._manifests.has(descriptor.digest)
        if is_there and (subject is None or self._is_first(subject.digest, entry)):
            return
        headers = self._manifests.put(descriptor, data)
        if subject is not None and "oci-subject" not in headers:
            self._referrers.add(subject.digest, entry)

    def push_root(self, descriptor: Descriptor, tag: str | None) -> None:
        """Point a tag to a pushed manifest; do nothing without a tag.

        Raises `BlobMissing` if it was not pushed, `TagImmutable` if the tag may not move, `RegistryError`.
        """
        _, data = self._fetch_document(descriptor.digest)
        if tag is not None:
            self._manifests.put_tag(tag, descriptor, data)

    # ImageStore

    def fetch_tags(self) -> Iterator[str]:
        """Yield all tags, in the registry's order. Raises `RegistryError`."""
        url = f"{self.url}/tags/list?n={TAGS_PER_PAGE}"
        for page in fetch_pages(self._client, url, self._scopes.pull):
            where = redacted(page.url)
            yield from Fields(gojson.decode(page.body, where, limit_bytes=ANSWER_LIMIT_BYTES), where).strings(
                "tags"
            )

    def fetch_entry_points(self) -> Iterator[EntryPoint]:
        """Yield all tags with their manifests, several read at the same time. See `ports.ImageStore`."""
        tags = self.fetch_tags()
        with ThreadPoolExecutor(TAGS_AT_ONCE) as pool:
            while some := list(islice(tags, TAGS_AT_ONCE)):
                for tag, found in zip(some, pool.map(self._manifests.fetch, some), strict=True):
                    is_list = found and is_fallback_tag(tag) and media_types.is_index(found[0].media_type)
                    if found is not None and not is_list:
                        root = describe_referrer(found[0], _parse(*found))
                        yield EntryPoint(tag=tag, root=root, data=found[1])

    def delete_manifest(self, digest: Digest, *, subject: Digest | None = None) -> bool:
        """Delete a manifest with its tags, and its entry among the referrers. See `ports.ImageStore`.

        The entry goes last, so that an interrupted run finds the manifest again. Some registries keep a manifest
        that a list refers to: there the entry goes first, and comes back if the registry still refuses.
        """
        subject = subject or self._fetch_subject(digest)
        self._documents.pop(digest, None)
        try:
            is_deleted = self._manifests.delete(digest)
        except DeletionRefused as error:
            entry = (
                self._referrers.remove(subject, digest) if subject and error.status in _REFERRED_TO else None
            )
            if subject is None or entry is None:
                raise
            try:
                return self._manifests.delete(digest)
            except RegistryError:
                self._referrers.add(subject, entry)
                raise
        if subject is not None:
            self._referrers.remove(subject, digest)
        return is_deleted

    def delete_tag(self, tag: str) -> bool:
        """Delete a tag, not its manifest. See `ports.ImageStore`."""
        return self._manifests.delete(tag)

    def delete_blobs(self, digests: Collection[Digest]) -> int:  # noqa: ARG002 - required by the port
        """Do nothing: a registry frees unreferenced blobs itself. See `ports.ImageStore`."""
        return 0

    def _is_first(self, subject: Digest, entry: Descriptor) -> bool:
        listed = self.fetch_referrers(subject, entry.artifact_type or "")
        return bool(listed) and listed[0].digest == entry.digest

    def _fetch_subject(self, digest: Digest) -> Digest | None:
        found = self._documents.get(digest) or self._manifests.fetch(digest)
        subject = _parse(*found).subject if found else None
        return subject.digest if subject else None

    def _fetch_document(self, digest: Digest) -> tuple[Descriptor, bytes]:
        found = self._documents.get(digest) or self._manifests.fetch(digest)
        if found is None:
            raise BlobMissing(f"{self}: no manifest {digest}")
        self._documents[digest] = found
        return found

    def _reader(self, descriptor: Descriptor) -> BlobReader:
        reader = self._readers.get(descriptor.digest)
        if reader is None or reader.size_bytes != descriptor.size:
            url = f"{self.url}/blobs/{descriptor.digest}"
            reader = BlobReader(self._client, descriptor, url, self._scopes.pull, str(self))
            self._readers[descriptor.digest] = reader
        return reader


def _is_document(descriptor: Descriptor) -> bool:
    return media_types.is_index(descriptor.media_type) or media_types.is_manifest(descriptor.media_type)


def _parse(descriptor: Descriptor, data: bytes) -> ImageManifest | ImageIndex:
    what = f"manifest {descriptor.digest}"
    if media_types.is_index(descriptor.media_type):
        return ImageIndex.parse(data, what)
    return ImageManifest.parse(data, what)
