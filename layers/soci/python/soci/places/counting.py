"""An image source that counts requests and bytes: for `cat` and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from soci.errors import BlobMissing
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import DescriptorSource, ImageSource, ReferrerSource


class CountingSource:
    """Reads from another source and counts in `bytes_read` and `requests`."""

    def __init__(self, source: ImageSource) -> None:
        self.bytes_read = 0
        self.requests = 0
        self._source = source

    def fetch_root(self) -> Descriptor:
        """See `ports.ImageSource`. Counts no bytes: a root is a tag or an entry of an index."""
        self.requests += 1
        return self._source.fetch_root()

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """See `ports.ImageSource`."""
        return self._count(self._source.fetch_manifest(descriptor))

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """See `ports.ImageSource`."""
        self.requests += 1
        with self._source.open_blob(descriptor) as chunks:
            yield self._counted(chunks)

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        """See `ports.ImageSource`."""
        return self._count(self._source.fetch_range(descriptor, start, end))

    def has_blob(self, descriptor: Descriptor) -> bool:
        """See `ports.ImageSource`."""
        self.requests += 1
        return self._source.has_blob(descriptor)

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        """See `ports.DescriptorSource`."""
        self.requests += 1
        if not isinstance(self._source, DescriptorSource):
            raise BlobMissing(f"{digest}: {self._source} cannot describe a manifest by its digest")
        return self._source.fetch_descriptor(digest)

    def fetch_referrers(self, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """See `ports.ReferrerSource`."""
        self.requests += 1
        if not isinstance(self._source, ReferrerSource):
            return ()
        return self._source.fetch_referrers(subject, artifact_type)

    def _count(self, data: bytes) -> bytes:
        self.requests += 1
        self.bytes_read += len(data)
        return data

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes_read += len(chunk)
            yield chunk
