"""The documents of an image, from its root down to each blob, and how its SOCI indexes are bound to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from soci.errors import BlobMissing, InvalidDocument
from soci.index.manifest import check_round_trip
from soci.oci import media_types
from soci.oci.annotations import (
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_IMAGE_LAYER_MEDIA_TYPE,
    SOCI_INDEX_DIGEST,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import checked
from soci.oci.manifest import ImageIndex, ImageManifest
from soci.places.ports import CompleteSource, DescriptorSource, ImageSource, ReferrerSource
from soci.verify.bindings import claims_of, contradictions, torn_apart
from soci.verify.layer import LayerArtifacts, verify_layer
from soci.verify.report import Findings, VerifyReport


def verify_image(source: ImageSource, *, compare_files: bool = False) -> VerifyReport:
    """Check everything that a reference leads to.

    Each manifest and blob is read and hashed. Of each SOCI index: the rules of the lazy reader for the index
    and its zTOCs, each span fetched, hashed and inflated from its checkpoint, and what binds index and image.
    With `compare_files` each file read through the spans is compared with that of the layer's own tar.
    Layers are read one after the other, twice if they have a zTOC; memory grows with the zTOC alone.

    Copies of single platforms on disk are sound, with a warning for each that is not there. What belongs together
    has to be there together: an image manifest and the SOCI index that it names, and at least one image.

    Raises:
        NotInImage: there is no such image.
        SourceError: the place cannot be read at all. Whatever is wrong with the image itself is a finding.
    """
    verifier = _ImageVerifier(source)
    verifier.read_documents(source.fetch_root())
    verifier.verify_bindings()
    verifier.verify_blobs(compare_files=compare_files)
    return verifier.findings.report()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """A manifest that was read, and the entry that led to it."""

    entry: Descriptor
    document: ImageManifest

    @property
    def is_soci_index(self) -> bool:
        return media_types.is_soci_config(self.document.config.media_type)

    @property
    def is_image(self) -> bool:
        is_unknown = self.entry.platform is not None and self.entry.platform.is_unknown
        return media_types.is_config(self.document.config.media_type) and not is_unknown

    @property
    def where(self) -> str:
        return f"{'SOCI index' if self.is_soci_index else 'manifest'} {self.entry.digest}"

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        return self.document.layers or ()


@dataclass(slots=True, kw_only=True)
class _LayerPlan:
    layer: Descriptor
    artifacts: list[LayerArtifacts] = field(default_factory=list)


class _ImageVerifier:
    def __init__(self, source: ImageSource) -> None:
        self.findings = Findings()
        self._source = source
        self._seen: set[Digest] = set()
        self._absent: set[Digest] = set()
        self._manifests: dict[Digest, _Manifest] = {}
        self._listed: dict[Digest, list[Descriptor]] = {}
        """Entries of image indexes by what they list: one SOCI index is listed for each image it is for."""
        self._images_of: dict[Digest, list[Digest]] = {}
        """Image manifests by the SOCI index that was found for them."""

    def read_documents(self, root: Descriptor) -> None:
        """Read the root, all that it lists, and the SOCI indexes that only refer to what it lists."""
        todo: list[Descriptor] = []
        with self.findings.collecting(f"manifest {root.digest}"):
            todo.extend(self._read(root))
        while todo:
            todo.extend(self._read_listed(todo.pop(0)))
        for manifest in self._images():
            named = manifest.document.annotations.get(SOCI_INDEX_DIGEST)
            if named:
                self._read_named(manifest, named)
            self._read_referrers(manifest)
        self._judge_absent(root)

    def verify_bindings(self) -> None:
        """Check each SOCI index as a document, and that it and its image name each other."""
        for manifest in list(self._manifests.values()):
            if manifest.is_soci_index:
                self.findings.count(soci_indexes=1)
                with self.findings.collecting(manifest.where):
                    self._verify_soci_index(manifest)

    def verify_blobs(self, *, compare_files: bool) -> None:
        """Check the blobs of all manifests, layers with what SOCI indexes have for them."""
        plans = {layer.digest: _LayerPlan(layer=layer) for one in self._images() for layer in one.layers}
        for manifest in self._manifests.values():
            if manifest.is_soci_index:
                self._plan_artifacts(manifest, plans)
        for plan in plans.values():
            if self._claim(plan.layer) and self._is_here(plan.layer):
                unique = tuple(dict.fromkeys(plan.artifacts))
                verify_layer(self._source, plan.layer, unique, self.findings, compare_files=compare_files)
                for one in unique:
                    self._seen |= {one.ztoc.digest, *(artifact.digest for artifact in one.prefetch)}
        for manifest in self._manifests.values():
            for blob in (manifest.document.config, *manifest.layers):
                if self._claim(blob) and self._is_here(blob):
                    self._verify_blob(blob)

    def _images(self) -> tuple[_Manifest, ...]:
        return tuple(one for one in self._manifests.values() if not one.is_soci_index)

    def _claim(self, descriptor: Descriptor) -> bool:
        """Tell whether this content is met for the first time."""
        is_new = descriptor.digest not in self._seen
        self._seen.add(descriptor.digest)
        return is_new

    def _is_here(self, blob: Descriptor) -> bool:
        if media_types.is_foreign(blob.media_type) and not self._source.has_blob(blob):
            self.findings.warning(f"layer {blob.digest}", "a foreign layer that is not stored with the image")
            return False
        return True

    def _read(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """Read a document; return the entries it lists. Raises BlobMissing when it is not there."""
        if not self._claim(entry):
            return ()
        where = f"manifest {entry.digest}"
        with self.findings.collecting(where, missing=False):
            data = self._source.fetch_manifest(entry)
            self.findings.count(manifests=1, bytes=len(data))
            if media_types.is_index(entry.media_type):
                entries = ImageIndex.parse(data, where).manifests or ()
                for listed in entries:
                    self._listed.setdefault(listed.digest, []).append(listed)
                return entries
            if media_types.is_manifest(entry.media_type):
                document = ImageManifest.parse(data, where)
                self._manifests[entry.digest] = _Manifest(entry=entry, document=document)
                if any(map(media_types.is_soci_config, (document.config.media_type, entry.artifact_type))):
                    check_round_trip(data)
        return ()

    def _read_listed(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """Read a document that an index lists; what it means that some are missing shows when all are read."""
        try:
            return self._read(entry)
        except BlobMissing:
            self._absent.add(entry.digest)
            return ()

    def _read_referrers(self, manifest: _Manifest) -> None:
        """Read the SOCI indexes of version 1. The first is the one that counts (docs/formats.md 8.1)."""
        if not isinstance(self._source, ReferrerSource):
            return
        referrers = self._source.fetch_referrers(manifest.entry.digest, media_types.SOCI_INDEX_V1)
        for referrer in referrers:
            with self.findings.collecting(f"SOCI index {referrer.digest}"):
                self._read(referrer)
            self._bind(referrer.digest, manifest)
        if len(referrers) > 1:
            self.findings.warning(
                manifest.where,
                f"{len(referrers)} SOCI indexes of version 1; readers take the first, {referrers[0].digest}",
            )

    def _bind(self, soci_index: Digest, image: _Manifest) -> None:
        images = self._images_of.setdefault(soci_index, [])
        if image.entry.digest not in images:
            images.append(image.entry.digest)

    def _judge_absent(self, root: Descriptor) -> None:
        """Tell platforms that were not copied, which does no harm, from a platform that was taken apart.

        Where places hold whole images, all that is missing is lost.
        """
        entries = (entry for listed in self._listed.values() for entry in listed)
        absent = set(map(str, self._absent))
        torn = torn_apart(entries, set(map(str, self._manifests)), absent)
        for digest in sorted(absent):
            where = f"manifest {digest}"
            if isinstance(self._source, CompleteSource):
                self.findings.error(where, "listed in the index, but it is not there")
            elif digest in torn:
                self.findings.error(
                    where, "not at hand, unlike the SOCI index or image manifest it belongs to"
                )
            else:
                self.findings.warning(where, "listed in the index, but not at hand")
        if absent and not any(one.is_image for one in self._manifests.values()):
            self.findings.error(f"manifest {root.digest}", "no image manifest that it lists is at hand")

    def _read_named(self, manifest: _Manifest, named: str) -> None:
        """Follow a manifest's annotation to its SOCI index."""
        with self.findings.collecting(manifest.where):
            digest = Digest.parse(named)
            if digest not in self._manifests and digest not in self._seen:
                if not isinstance(self._source, DescriptorSource):
                    raise BlobMissing(f"it names the SOCI index {digest}, which the image does not list")
                self._read(self._source.fetch_descriptor(digest))
            index = self._manifests.get(digest)
            if index is None or not index.is_soci_index:
                raise BlobMissing(f"it names the SOCI index {digest}, but that is no readable SOCI index")
            self._bind(digest, manifest)

    def _verify_soci_index(self, index: _Manifest) -> None:
        images = self._images_of.get(index.entry.digest, [])
        entries = (index.entry, *self._listed.get(index.entry.digest, ()))
        claims = claims_of(index.document, entries)
        for what in contradictions(claims, set(map(str, images)), set(map(str, self._absent))):
            self.findings.error(index.where, what)
        layers = [layer for image in images for layer in self._manifests[image].layers]
        for entry in index.layers:
            self._verify_index_entry(index, entry, layers if images else None)

    def _verify_index_entry(
        self, index: _Manifest, entry: Descriptor, layers: Iterable[Descriptor] | None
    ) -> None:
        if entry.media_type not in (media_types.ZTOC, media_types.PREFETCH):
            self.findings.warning(
                index.where, f"{entry.digest} has a type that readers ignore: {entry.media_type[:100]}"
            )
            return
        with self.findings.collecting(f"{index.where}: {entry.digest}"):
            digest = Digest.parse(entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, ""))
            if layers is None:
                return
            types = {layer.media_type for layer in layers if layer.digest == digest}
            if not types:
                raise InvalidDocument(f"it is for layer {digest}, which the image does not have")
            claimed = entry.annotations.get(SOCI_IMAGE_LAYER_MEDIA_TYPE)
            if claimed is not None and claimed not in types:
                raise InvalidDocument(
                    f"it says its layer is {claimed[:100]}, want {', '.join(sorted(types))}"
                )

    def _plan_artifacts(self, index: _Manifest, plans: dict[Digest, _LayerPlan]) -> None:
        """Assign zTOCs and prefetch artifacts to layers; what fits no layer is checked as a mere blob."""
        listed: dict[str, list[Descriptor]] = {}
        for entry in index.layers:
            listed.setdefault(entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, ""), []).append(entry)
        for layer in plans.values():
            entries = listed.get(str(layer.layer.digest), [])
            ztocs = [entry for entry in entries if entry.media_type == media_types.ZTOC]
            prefetch = tuple(
                dict.fromkeys(entry for entry in entries if entry.media_type == media_types.PREFETCH)
            )
            if len({ztoc.digest for ztoc in ztocs}) > 1:
                self.findings.warning(
                    index.where, f"several zTOCs for layer {layer.layer.digest}, the last counts"
                )
            if ztocs:
                layer.artifacts.append(LayerArtifacts(ztoc=ztocs[-1], prefetch=prefetch))
            elif prefetch:
                self.findings.error(
                    index.where, f"prefetch artifact for layer {layer.layer.digest} without zTOC"
                )

    def _verify_blob(self, blob: Descriptor) -> None:
        with self.findings.collecting(f"blob {blob.digest}"):
            with self._source.open_blob(blob) as pieces:
                for _ in checked(blob, pieces):
                    pass
            self.findings.count(blobs=1, bytes=blob.size)
