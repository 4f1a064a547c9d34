"""OCI layouts on disk: reading and writing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from soci.errors import BlobMissing, DigestMismatch, StorageError
from soci.oci import gojson
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import checked
from soci.oci.manifest import INDEX_LIMIT_BYTES
from soci.places.layout.atomic_files import PendingFile, fsync_directory, locked_directory, write_atomically
from soci.places.layout.extents import Extent, storage_errors
from soci.places.layout.index_json import (
    EMPTY_INDEX_JSON,
    INDEX_JSON,
    ref_name,
    with_root,
    without_root,
    without_tag,
)
from soci.places.layout.layout_source import LAYOUT_VERSION, OCI_LAYOUT, LayoutSource
from soci.places.layout.reachable import reachable_from
from soci.places.ports import EntryPoint

UPLOAD_ALGORITHM = "sha256"
"""The digest algorithm of uploads."""


class LayoutUpload:
    """See `ports.Upload`."""

    def __init__(self, file: PendingFile) -> None:
        self._file = file
        self._content_hash = hashlib.new(UPLOAD_ALGORITHM)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises `StorageError`."""
        self._content_hash.update(data)
        self._file.write(data)

    def commit(self, digest: Digest) -> None:
        """Give the blob its name. Raises `DigestMismatch` if the digest is another one, `StorageError`."""
        written = Digest(algorithm=UPLOAD_ALGORITHM, hex=self._content_hash.hexdigest())
        if written != digest:
            raise DigestMismatch(f"{digest}: the bytes written hash to {written}")
        self._file.commit(digest.hex)

    def abort(self) -> None:
        """Delete the file, unless it is committed."""
        self._file.abort()


class OciLayout(LayoutSource):
    """A directory with an OCI layout: an `ImageStore`.

    The first push creates the layout if the directory is missing or empty. Blobs are written atomically. index.json
    changes last and under a lock, so concurrent writers lose no entries.
    """

    def check_writable(self) -> None:
        """Raise `StorageError` for a directory with other files. A missing or empty one, or a layout, is fine."""
        if not self.path.exists():
            return
        with storage_errors(self.path), os.scandir(self.path) as files:
            is_empty = next(files, None) is None
        if is_empty:
            return
        if self._find_file(OCI_LAYOUT) is None:
            raise StorageError(
                f"{self}: a directory with other files in it, not an OCI layout; nothing is written"
            )
        self._check_version()

    def push_blob(self, descriptor: Descriptor, chunks: Iterable[bytes | bytearray]) -> None:
        """Write and check a blob. An error leaves nothing behind. See `ports.ArtifactSink`."""
        self._prepare(descriptor.digest.algorithm)
        write_atomically(self._blob_path(descriptor.digest), checked(descriptor, chunks))

    def start_upload(self) -> LayoutUpload:
        """Start writing a blob under a temporary name. See `ports.ArtifactSink`."""
        self._prepare(UPLOAD_ALGORITHM)
        return LayoutUpload(PendingFile(self.path / "blobs" / UPLOAD_ALGORITHM))

    def push_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Write a manifest or index, which is a blob in a layout. See `ports.ArtifactSink`."""
        self.push_blob(descriptor, (data,))

    def push_root(self, descriptor: Descriptor, tag: str | None) -> None:
        """Add a manifest to index.json; a tag moves to it. Raises `BlobMissing` if it was not pushed."""
        if not self.has_blob(descriptor):
            raise BlobMissing(f"{self}: no blob {descriptor.digest} to add to {INDEX_JSON}")
        fsync_directory(self._blob_path(descriptor.digest).parent)
        self._change_index_json(lambda current, where: with_root(current, descriptor, tag, where))

    def fetch_entry_points(self) -> Iterator[EntryPoint]:
        """Yield the entries of index.json whose documents exist. See `ports.ImageStore`."""
        for root in self.fetch_roots():
            with suppress(BlobMissing):
                yield EntryPoint(tag=ref_name(root), root=root, data=self.fetch_manifest(root))

    def delete_manifest(self, digest: Digest, *, subject: Digest | None = None) -> bool:  # noqa: ARG002 - port
        """Remove a manifest from index.json; `delete_blobs` deletes its bytes. See `ports.ImageStore`."""
        return self._change_index_json(lambda current, where: without_root(current, digest, where))

    def delete_tag(self, tag: str) -> bool:
        """Remove the entry of a tag from index.json. See `ports.ImageStore`."""
        return self._change_index_json(lambda current, where: without_tag(current, tag, where))

    def delete_blobs(self, digests: Collection[Digest]) -> int:
        """Delete blobs that are not reachable from an entry point. Raises `StorageError`, `IntegrityError`.

        A document that cannot be read is an error, because its references are unknown.
        """
        with locked_directory(self.path):
            needed = reachable_from(self, self.fetch_roots())
            freed = 0
            for digest in set(digests) - needed:
                path = self._blob_path(digest)
                with storage_errors(path), suppress(FileNotFoundError):
                    path.unlink()
                    freed += 1
            return freed

    def _change_index_json(self, change: Callable[[bytes, str], bytes]) -> bool:
        """Change index.json under a lock; return whether it differs."""
        path = self.path / INDEX_JSON
        with locked_directory(self.path) as directory:
            extent = self._find_file(INDEX_JSON)
            current = EMPTY_INDEX_JSON if extent is None else extent.fetch(0, INDEX_LIMIT_BYTES + 1)
            updated = change(current, str(path))
            if extent is not None and updated == current:
                return False
            write_atomically(path, (updated,))
            with storage_errors(path):
                os.fsync(directory)
        return True

    def _prepare(self, algorithm: str) -> None:
        blobs = self.path / "blobs" / algorithm
        if blobs.is_dir() and self._find_file(OCI_LAYOUT):
            return
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with locked_directory(self.path):
                self.check_writable()
                marker = gojson.encode({"imageLayoutVersion": LAYOUT_VERSION})
                if self._find_file(OCI_LAYOUT) is None:
                    write_atomically(self.path / OCI_LAYOUT, (marker,))
                blobs.mkdir(parents=True, exist_ok=True)

    def _blob_path(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.hex

    def _find_file(self, name: str) -> Extent | None:
        path = self.path / name
        with storage_errors(path):
            try:
                status = path.stat()  # follows links: blobs may be in another directory
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Extent(path=path, size=status.st_size) if stat.S_ISREG(status.st_mode) else None
