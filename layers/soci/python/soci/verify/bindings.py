"""Check that SOCI indexes and image manifests name each other. Pure.

An image manifest names its SOCI index by an annotation. The SOCI index's entry in the image index names the image
manifest. Platforms with the same layers share one SOCI index, which then has an entry for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from soci.errors import InvalidDocument
from soci.oci import media_types
from soci.oci.annotations import (
    SOCI_IMAGE_LAYER_DIGEST,
    SOCI_IMAGE_LAYER_MEDIA_TYPE,
    SOCI_IMAGE_MANIFEST_DIGEST,
)
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.verify.documents import Documents, Manifest
from soci.verify.report import Findings


def verify_bindings(documents: Documents, findings: Findings) -> None:
    """Check that each SOCI index and its images name each other, and that its entries fit the images' layers."""
    for index in documents.soci_indexes:
        findings.count(soci_indexes=1)
        with findings.collecting(index.where):
            images = documents.images_of.get(index.entry.digest, [])
            claims = _claims_of(index.document, (index.entry, *documents.listed.get(index.entry.digest, ())))
            for what in _contradictions(claims, set(map(str, images)), set(map(str, documents.absent))):
                findings.error(index.where, what)
            layers = [layer for image in images for layer in documents.manifests[image].layers]
            for entry in index.layers:
                _verify_entry(index, entry, layers if images else None, findings)


def _claims_of(soci_index: ImageManifest, entries: Iterable[Descriptor]) -> set[str]:
    """Return the image manifests that a SOCI index is for: by its subject (version 1) or by its entries."""
    if soci_index.config.media_type == media_types.SOCI_INDEX_V1 and soci_index.subject is not None:
        return {str(soci_index.subject.digest)}
    claims = (entry.annotations.get(SOCI_IMAGE_MANIFEST_DIGEST) for entry in entries)
    return {claim for claim in claims if claim is not None}


def _contradictions(
    claims: Collection[str], named_by: Collection[str], absent: Collection[str]
) -> Iterator[str]:
    """Yield the contradictions between a SOCI index's claims and the manifests that name it."""
    wrong = sorted(set(claims) - set(named_by) - set(absent))
    if not named_by and (wrong or not claims):
        yield f"no image manifest names it; it says it is for {', '.join(wrong) or 'none'}"
    elif wrong:
        yield f"it says it is for {', '.join(wrong)}, but {', '.join(sorted(named_by))} names it"
    elif claims and (others := sorted(set(named_by) - set(claims))):
        yield f"{', '.join(others)} names it, but it does not say that it is for that"


def _verify_entry(
    index: Manifest, entry: Descriptor, layers: Iterable[Descriptor] | None, findings: Findings
) -> None:
    """Check an entry of a SOCI index against the layers of its images; None if no image is known."""
    if entry.media_type not in (media_types.ZTOC, media_types.PREFETCH):
        findings.warning(
            index.where, f"{entry.digest} has a type that readers ignore: {entry.media_type[:100]}"
        )
        return
    with findings.collecting(f"{index.where}: {entry.digest}"):
        digest = Digest.parse(entry.annotations.get(SOCI_IMAGE_LAYER_DIGEST, ""))
        if layers is None:
            return
        types = {layer.media_type for layer in layers if layer.digest == digest}
        if not types:
            raise InvalidDocument(f"it is for layer {digest}, which the image does not have")
        claimed = entry.annotations.get(SOCI_IMAGE_LAYER_MEDIA_TYPE)
        if claimed is not None and claimed not in types:
            raise InvalidDocument(f"it says its layer is {claimed[:100]}, want {', '.join(sorted(types))}")
