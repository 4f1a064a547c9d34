"""How SOCI indexes and image manifests name each other. Pure.

An image manifest names its SOCI index by an annotation. An entry of the image index says for which manifest a SOCI
index is; one index that fits several manifests, as platforms with the same layers have, is listed for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from soci.oci import media_types
from soci.oci.annotations import SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST
from soci.oci.descriptor import Descriptor
from soci.oci.manifest import ImageManifest


def claims_of(soci_index: ImageManifest, entries: Iterable[Descriptor]) -> set[str]:
    """Return the image manifests that a SOCI index is for, as it says itself (version 1) or its entries do."""
    if soci_index.config.media_type == media_types.SOCI_INDEX_V1 and soci_index.subject is not None:
        return {str(soci_index.subject.digest)}
    claims = (entry.annotations.get(SOCI_IMAGE_MANIFEST_DIGEST) for entry in entries)
    return {claim for claim in claims if claim is not None}


def contradictions(
    claims: Collection[str], named_by: Collection[str], absent: Collection[str]
) -> Iterator[str]:
    """Yield how what a SOCI index claims differs from what names it; absent manifests cannot name anything."""
    wrong = sorted(set(claims) - set(named_by) - set(absent))
    if not named_by and (wrong or not claims):
        yield f"no image manifest names it; it says it is for {', '.join(wrong) or 'none'}"
    elif wrong:
        yield f"it says it is for {', '.join(wrong)}, but {', '.join(sorted(named_by))} names it"
    elif claims and (others := sorted(set(named_by) - set(claims))):
        yield f"{', '.join(others)} names it, but it does not say that it is for that"


def torn_apart(entries: Iterable[Descriptor], here: Collection[str], absent: Collection[str]) -> set[str]:
    """Return what is absent of an image manifest and its SOCI index while the other one is here."""
    halves: set[frozenset[str]] = set()
    for entry in entries:
        for key in (SOCI_IMAGE_MANIFEST_DIGEST, SOCI_INDEX_DIGEST):
            if (other := entry.annotations.get(key)) is not None:
                halves.add(frozenset((str(entry.digest), other)))
    return {one for pair in halves if any(half in here for half in pair) for one in pair if one in absent}
