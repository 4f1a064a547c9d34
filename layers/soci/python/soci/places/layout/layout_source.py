"""Reading an OCI layout, from a directory or a tar file (OCI image spec, image-layout.md)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path

from soci.errors import BlobMissing, IntegrityError, InvalidDocument, NotInImage, SourceError
from soci.oci import gojson
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.fields import Fields
from soci.oci.integrity import check_content
from soci.oci.manifest import (
    INDEX_LIMIT_BYTES,
    MANIFEST_LIMIT_BYTES,
    ImageIndex,
    ImageManifest,
    sniff_media_type,
)
from soci.places.layout.extents import Extent, ExtentSource
from soci.places.layout.index_json import INDEX_JSON, choose_entry

OCI_LAYOUT = "oci-layout"
LAYOUT_VERSION = "1.0.0"

_MARKER_LIMIT_BYTES = 4096
"""The marker file has one short field. A larger file is no layout."""


class LayoutSource(ExtentSource):
    """An `ImageSource` over the files of a layout. Subclasses find the files.

    The image is the one with the tag, the manifest or index with the digest, or else the only one in the layout.
    """

    def __init__(self, path: Path, *, tag: str | None = None, digest: Digest | None = None) -> None:
        self.path = path
        self._tag = tag
        self._digest = digest

    def __str__(self) -> str:
        return str(self.path)

    @abstractmethod
    def _find_file(self, name: str) -> Extent | None:
        """Return the extent of a regular file of the layout; None when it does not exist."""

    def fetch_root(self) -> Descriptor:
        """Describe the image as its entry in index.json does.

        Raises `NotInImage` for an unknown or ambiguous tag, `SourceError` if this is no layout,
        `InvalidDocument` for a corrupt one.
        """
        self._check_version()
        index = self._fetch_index()
        if self._digest is None:
            entry = choose_entry(index, self._tag, str(self))
        else:
            entries = [entry for entry in index.manifests or () if entry.digest == self._digest]
            entry = entries[0] if entries else self._describe(self._digest)
        return entry if entry.media_type else self._describe(entry.digest)

    def fetch_descriptor(self, digest: Digest) -> Descriptor:
        """Describe a manifest by its content. Raises `NotInImage` when it does not exist."""
        return self._describe(digest)

    def fetch_referrers(self, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...]:
        """Describe the entry points of one artifact type with this subject, the last one in index.json first.

        Readers use the first of several SOCI indexes, and this way that is the newest. As in a registry, an entry has
        the annotations of its manifest.
        """
        entries = self._fetch_index().manifests or ()
        found = (
            (entry, self._artifact(entry))
            for entry in reversed(entries)
            if entry.artifact_type == artifact_type
        )
        return tuple(
            replace(entry, annotations={**entry.annotations, **manifest.annotations})
            for entry, manifest in found
            if manifest and manifest.subject and manifest.subject.digest == subject
        )

    def fetch_roots(self) -> tuple[Descriptor, ...]:
        """Describe all entry points of the layout."""
        entries = self._fetch_index().manifests or ()
        return tuple(entry if entry.media_type else self._describe(entry.digest) for entry in entries)

    def _artifact(self, entry: Descriptor) -> ImageManifest | None:
        """Return the manifest of an artifact; None when it cannot be read."""
        try:
            return ImageManifest.parse(self.fetch_manifest(entry), f"{self}: {entry.digest}")
        except (BlobMissing, IntegrityError):
            return None

    def _fetch_index(self) -> ImageIndex:
        return ImageIndex.parse(self._fetch_file(INDEX_JSON, INDEX_LIMIT_BYTES), f"{self}: {INDEX_JSON}")

    def _find(self, digest: Digest) -> Extent | None:
        return self._find_file(f"blobs/{digest.algorithm}/{digest.hex}")

    def _describe(self, digest: Digest) -> Descriptor:
        extent = self._find(digest)
        if extent is None:
            raise NotInImage(f"{self}: no manifest {digest}")
        if extent.size > MANIFEST_LIMIT_BYTES:
            raise InvalidDocument(f"{self}: {digest} has {extent.size} bytes, too many for a manifest")
        data = extent.fetch(0, extent.size)
        descriptor = Descriptor(media_type="", digest=digest, size=extent.size)
        check_content(descriptor, data)
        return replace(descriptor, media_type=sniff_media_type(data, f"{self}: {digest}"))

    def _check_version(self) -> None:
        what = f"{self}: {OCI_LAYOUT}"
        marker = gojson.decode(
            self._fetch_file(OCI_LAYOUT, _MARKER_LIMIT_BYTES), what, limit_bytes=_MARKER_LIMIT_BYTES
        )
        fields = Fields(marker, what)
        version = fields.string("imageLayoutVersion")
        if version != LAYOUT_VERSION:
            raise fields.invalid("imageLayoutVersion", f"expected {LAYOUT_VERSION}, got {version[:40]!r}")

    def _fetch_file(self, name: str, limit_bytes: int) -> bytes:
        extent = self._find_file(name)
        if extent is None:
            raise SourceError(f"{self}: not an OCI layout, it has no file {name}")
        # The parser refuses a file with one byte more than the limit.
        return extent.fetch(0, limit_bytes + 1)
