"""Check an image, from its root down to each blob."""

from __future__ import annotations

from dataclasses import dataclass, field

from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_LAYER_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.integrity import check_chunks
from soci.places.ports import ImageSource
from soci.verify.bindings import verify_bindings
from soci.verify.documents import Documents, Manifest
from soci.verify.layer import LayerArtifacts, verify_layer
from soci.verify.report import Findings, VerifyReport


def verify_image(source: ImageSource, *, compare_files: bool = False) -> VerifyReport:
    """Check all content that a reference leads to.

    Each manifest and blob is read and hashed. For each SOCI index, the check covers the lazy reader's rules for the
    index and its zTOCs, each span (fetched, hashed and inflated from its checkpoint), and the bindings of index and
    image. With `compare_files`, each file is read through the spans and compared with the layer's own tar. Layers
    are read one after the other, twice if they have a zTOC. Memory grows with the zTOC only.

    A copy of single platforms on disk is sound, with a warning for each missing manifest. But an image manifest and
    its SOCI index belong together, and at least one image must be present.

    Raises:
        NotInImage: there is no such image.
        SourceError: the source cannot be read at all. Problems of the image itself are findings.
    """
    findings = Findings()
    documents = Documents(source, findings)
    documents.read(source.fetch_root())
    verify_bindings(documents, findings)
    _BlobVerifier(source, documents, findings).verify(compare_files=compare_files)
    return findings.report()


@dataclass(slots=True, kw_only=True)
class _LayerPlan:
    layer: Descriptor
    artifacts: list[LayerArtifacts] = field(default_factory=list)


class _BlobVerifier:
    def __init__(self, source: ImageSource, documents: Documents, findings: Findings) -> None:
        self._source = source
        self._documents = documents
        self._findings = findings

    def verify(self, *, compare_files: bool) -> None:
        """Check the layers with their zTOCs and prefetch artifacts, then all other blobs."""
        images = self._documents.images
        plans = {layer.digest: _LayerPlan(layer=layer) for one in images for layer in one.layers}
        for soci_index in self._documents.soci_indexes:
            self._plan_artifacts(soci_index, plans)
        for plan in plans.values():
            if self._is_to_read(plan.layer):
                unique = tuple(dict.fromkeys(plan.artifacts))
                verify_layer(self._source, plan.layer, unique, self._findings, compare_files=compare_files)
                for one in unique:
                    self._documents.seen |= {one.ztoc.digest, *(artifact.digest for artifact in one.prefetch)}
        for manifest in self._documents.manifests.values():
            for blob in (manifest.document.config, *manifest.layers):
                if self._is_to_read(blob):
                    self._verify_blob(blob)

    def _is_to_read(self, blob: Descriptor) -> bool:
        """Tell whether a blob has not been read yet, and is not a foreign layer that is stored elsewhere."""
        if blob.digest in self._documents.seen:
            return False
        self._documents.seen.add(blob.digest)
        if media_types.is_foreign(blob.media_type) and not self._source.has_blob(blob):
            self._findings.warning(
                f"layer {blob.digest}", "a foreign layer that is not stored with the image"
            )
            return False
        return True

    def _plan_artifacts(self, soci_index: Manifest, plans: dict[Digest, _LayerPlan]) -> None:
        """Assign zTOCs and prefetch artifacts to their layers. Artifacts of no layer are checked as plain blobs."""
        listed: dict[str, list[Descriptor]] = {}
        for entry in soci_index.layers:
            listed.setdefault(entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, ""), []).append(entry)
        for plan in plans.values():
            layer = plan.layer.digest
            entries = listed.get(str(layer), [])
            ztocs = [entry for entry in entries if entry.media_type == media_types.ZTOC]
            prefetch = tuple(
                dict.fromkeys(entry for entry in entries if entry.media_type == media_types.PREFETCH)
            )
            if len({ztoc.digest for ztoc in ztocs}) > 1:
                self._findings.warning(soci_index.where, f"several zTOCs for layer {layer}, the last counts")
            if len(prefetch) > 1:
                self._findings.warning(
                    soci_index.where, f"several prefetch artifacts for layer {layer}, the first counts"
                )
            if ztocs:
                plan.artifacts.append(LayerArtifacts(ztoc=ztocs[-1], prefetch=prefetch))
            elif prefetch:
                self._findings.error(soci_index.where, f"prefetch artifact for layer {layer} without zTOC")

    def _verify_blob(self, blob: Descriptor) -> None:
        with self._findings.collecting(f"blob {blob.digest}"):
            with self._source.open_blob(blob) as chunks:
                check_chunks(blob, chunks)
            self._findings.count(blobs=1, bytes=blob.size)
