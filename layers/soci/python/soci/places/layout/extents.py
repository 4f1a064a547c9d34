"""Extents: byte ranges of files, and an image source that reads blobs from them.

A blob in a layout is a whole file; a blob in an archive is a part of a file.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soci.errors import BlobMissing, InvalidDocument, SizeMismatch, StorageError
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.image_config import CONFIG_LIMIT_BYTES
from soci.oci.integrity import check_content
from soci.oci.manifest import MANIFEST_LIMIT_BYTES

CHUNK_BYTES = 1024 * 1024


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate an `OSError` into a `StorageError` with the path and the system's message.

    `path` is the path for the message; a temporary file in its place is not named.
    """
    try:
        yield
    except OSError as error:
        text = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(f"{path}: {text}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Bytes [offset, offset + size) of a file. Each read opens the file, so threads may share an extent."""

    path: Path
    offset: int = 0
    size: int

    @contextmanager
    def open_chunks(self) -> Iterator[Iterator[bytes]]:
        """Stream the bytes in chunks of 1 MiB. There are fewer than `size` if the file became shorter."""
        with self._open() as descriptor:
            yield self._chunks(descriptor, 0, self.size)

    def fetch(self, start: int, end: int) -> bytes:
        """Return bytes [start, end) of the extent; fewer only where it ends."""
        with self._open() as descriptor:
            return b"".join(self._chunks(descriptor, start, min(end, self.size)))

    @contextmanager
    def _open(self) -> Iterator[int]:
        with storage_errors(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor  # outside storage_errors: an OSError of the caller is not translated
        finally:
            os.close(descriptor)

    def _chunks(self, descriptor: int, start: int, end: int) -> Iterator[bytes]:
        position = start
        while position < end:
            with storage_errors(self.path):
                chunk = os.pread(descriptor, min(CHUNK_BYTES, end - position), self.offset + position)
            if not chunk:
                return
            position += len(chunk)
            yield chunk


class ExtentSource(ABC):
    """An `ImageSource` whose blobs are extents. Subclasses choose the image and find blobs."""

    @abstractmethod
    def fetch_root(self) -> Descriptor:
        """Describe the image of the reference. Raises `NotInImage` if there is none, or more than one."""

    @abstractmethod
    def _find(self, digest: Digest) -> Extent | None:
        """Return the extent of a blob; None when it does not exist."""

    def fetch_manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, size-limited and checked. See `ports.ImageSource`."""
        is_config = media_types.is_config(descriptor.media_type)
        limit_bytes = CONFIG_LIMIT_BYTES if is_config else MANIFEST_LIMIT_BYTES
        if descriptor.size > limit_bytes:
            raise InvalidDocument(
                f"{descriptor.digest}: {descriptor.size} bytes, the limit for such a document is {limit_bytes}"
            )
        data = self._get(descriptor).fetch(0, descriptor.size)
        check_content(descriptor, data)
        return data

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob in chunks of 1 MiB. Checks only its size. See `ports.ImageSource`."""
        with self._get(descriptor).open_chunks() as chunks:
            yield chunks

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a blob. See `ports.ImageSource`."""
        return self._get(descriptor).fetch(start, end)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob exists, with its full size."""
        extent = self._find(descriptor.digest)
        return extent is not None and extent.size == descriptor.size

    def _get(self, descriptor: Descriptor) -> Extent:
        extent = self._find(descriptor.digest)
        if extent is None:
            raise BlobMissing(f"{self}: no blob {descriptor.digest}")
        if extent.size != descriptor.size:
            raise SizeMismatch(
                f"{self}: blob {descriptor.digest} has {extent.size} bytes, want {descriptor.size}"
            )
        return extent
