"""Read the documents of an image: its root, all that the root lists, and its SOCI indexes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from soci.errors import BlobMissing
from soci.index.manifest import check_round_trip
from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import CompleteSource, DescriptorSource, ImageSource, ReferrerSource
from soci.verify.report import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest, and the entry that led to it."""

    entry: Descriptor
    document: ImageManifest

    @property
    def is_soci_index(self) -> bool:
        """Whether the manifest is a SOCI index of either version."""
        return media_types.is_soci_config(self.document.config.media_type)

    @property
    def is_image(self) -> bool:
        """Whether the manifest is an image for a machine, and not an attestation or a SOCI index."""
        is_unknown = self.entry.platform is not None and self.entry.platform.is_unknown
        return media_types.is_config(self.document.config.media_type) and not is_unknown

    @property
    def where(self) -> str:
        """The name of the manifest in findings."""
        return f"{'SOCI index' if self.is_soci_index else 'manifest'} {self.entry.digest}"

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers; empty if the document has no list."""
        return self.document.layers or ()


class Documents:
    """The documents of an image. Problems go to `findings`."""

    def __init__(self, source: ImageSource, findings: Findings) -> None:
        self.manifests: dict[Digest, Manifest] = {}
        """All manifests, by their digest."""
        self.absent: set[Digest] = set()
        """Manifests that an index lists and the source does not have."""
        self.listed: dict[Digest, list[Descriptor]] = {}
        """The entries of image indexes, by their digest. A SOCI index has an entry for each of its images."""
        self.images_of: dict[Digest, list[Digest]] = {}
        """The image manifests of each SOCI index: those that name it, or that it refers to."""
        self.seen: set[Digest] = set()
        """All content read so far, so that none is read twice."""
        self._source = source
        self._findings = findings

    @property
    def images(self) -> tuple[Manifest, ...]:
        """All manifests but the SOCI indexes."""
        return tuple(one for one in self.manifests.values() if not one.is_soci_index)

    @property
    def soci_indexes(self) -> tuple[Manifest, ...]:
        """The SOCI indexes of both versions."""
        return tuple(one for one in self.manifests.values() if one.is_soci_index)

    def read(self, root: Descriptor) -> None:
        """Read the root, all that it lists, and the SOCI indexes that only refer to what it lists.

        Raises:
            SourceError: the source cannot be read. A missing root is a finding.
        """
        pending: list[Descriptor] = []
        with self._findings.collecting(f"manifest {root.digest}"):
            pending.extend(self._read(root))
        while pending:
            pending.extend(self._read_listed(pending.pop(0)))
        for manifest in self.images:
            named = manifest.document.annotations.get(SOCI_INDEX_DIGEST)
            if named:
                self._read_named(manifest, named)
            self._read_referrers(manifest)
        self._report_absent(root)

    def _read(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """Read a document once and return the entries that it lists. Raises BlobMissing if it is missing."""
        if entry.digest in self.seen:
            return ()
        self.seen.add(entry.digest)
        where = f"manifest {entry.digest}"
        with self._findings.collecting(where, missing=False):
            data = self._source.fetch_manifest(entry)
            self._findings.count(manifests=1, bytes=len(data))
            if media_types.is_index(entry.media_type):
                entries = ImageIndex.parse(data, where).manifests or ()
                for listed in entries:
                    self.listed.setdefault(listed.digest, []).append(listed)
                return entries
            if media_types.is_manifest(entry.media_type):
                document = ImageManifest.parse(data, where)
                self.manifests[entry.digest] = Manifest(entry=entry, document=document)
                if any(map(media_types.is_soci_config, (document.config.media_type, entry.artifact_type))):
                    check_round_trip(data)
        return ()

    def _read_listed(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """Read a document that an index lists. Missing ones are reported after all are read."""
        try:
            return self._read(entry)
        except BlobMissing:
            self.absent.add(entry.digest)
            return ()

    def _read_named(self, manifest: Manifest, named: str) -> None:
        """Read the SOCI index that a manifest's annotation names."""
        with self._findings.collecting(manifest.where):
            digest = Digest.parse(named)
            if digest not in self.seen:
                if not isinstance(self._source, DescriptorSource):
                    raise BlobMissing(f"it names the SOCI index {digest}, which the image does not list")
                self._read(self._source.fetch_descriptor(digest))
            index = self.manifests.get(digest)
            if index is None or not index.is_soci_index:
                raise BlobMissing(f"it names the SOCI index {digest}, but that is no readable SOCI index")
            self._bind(digest, manifest)

    def _read_referrers(self, manifest: Manifest) -> None:
        """Read the SOCI indexes of version 1. Readers take the first (docs/formats.md 8.1)."""
        if not isinstance(self._source, ReferrerSource):
            return
        referrers = self._source.fetch_referrers(manifest.entry.digest, media_types.SOCI_INDEX_V1)
        for referrer in referrers:
            with self._findings.collecting(f"SOCI index {referrer.digest}"):
                self._read(referrer)
            self._bind(referrer.digest, manifest)
        if len(referrers) > 1:
            self._findings.warning(
                manifest.where,
                f"{len(referrers)} SOCI indexes of version 1; readers take the first, {referrers[0].digest}",
            )

    def _bind(self, soci_index: Digest, image: Manifest) -> None:
        images = self.images_of.setdefault(soci_index, [])
        if image.entry.digest not in images:
            images.append(image.entry.digest)

    def _report_absent(self, root: Descriptor) -> None:
        """Report missing manifests.

        A copy of single platforms on disk may lack the others, which is a warning. A missing half of a platform is
        an error, and so is any missing manifest in a source that holds whole images.
        """
        entries = (entry for listed in self.listed.values() for entry in listed)
        absent = set(map(str, self.absent))
        torn = _torn_apart(entries, set(map(str, self.manifests)), absent)
        for digest in sorted(absent):
            where = f"manifest {digest}"
            if isinstance(self._source, CompleteSource):
                self._findings.error(where, "listed in the index, but missing")
            elif digest in torn:
                self._findings.error(
                    where, "missing, unlike the SOCI index or image manifest that belongs to it"
                )
            else:
                self._findings.warning(where, "listed in the index, but missing here")
        if absent and not any(one.is_image for one in self.manifests.values()):
            self._findings.error(f"manifest {root.digest}", "all image manifests that it lists are missing")


def _torn_apart(entries: Iterable[Descriptor], here: Collection[str], absent: Collection[str]) -> set[str]:
    """Return image manifests that lack their SOCI index, and SOCI indexes that lack their image manifest."""
    halves: set[frozenset[str]] = set()
    for entry in entries:
        for key in (SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST):
            if (other := entry.annotations.get(key)) is not None:
                halves.add(frozenset((str(entry.digest), other)))
    return {one for pair in halves if any(half in here for half in pair) for one in pair if one in absent}
