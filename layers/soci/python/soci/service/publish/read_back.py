"""Reading a publication back as a container's start will: from the manifests down to a span of each layer.

An index decides what a container reads. If it cannot be read, this fails here, before a task hangs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from soci.errors import BlobMissing, InvalidDocument
from soci.image.indexed import ztocs_of
from soci.index.manifest import check_round_trip
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.oci.manifest import ImageManifest
from soci.places.ports import ImageSource, ReferrerSource
from soci.service.messages import ReadBack
from soci.service.publish.check_ztocs import LayerAndZtoc, for_each, read_middle_span


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A published SOCI index and the image manifest that it is for."""

    image: Descriptor
    index: Descriptor


def read_back(
    source: ImageSource, roots: Iterable[Descriptor], bound: Sequence[Bound], *, span_size_bytes: int
) -> ReadBack:
    """Read manifests by digest, look for every blob of the SOCI indexes, and read one span of each indexed layer.

    The documents must not have been written through this `source`, which would remember them. Each content is read
    once, however many documents refer to it.

    Raises:
        SourceError, IntegrityError: something is missing, or not as it was made; the message names it.
    """
    documents = {
        one.digest: one for one in (*roots, *(one for pair in bound for one in (pair.image, pair.index)))
    }
    data = {digest: source.fetch_manifest(document) for digest, document in documents.items()}
    ztocs: dict[LayerAndZtoc, None] = {}
    others: dict[Digest, Descriptor] = {}
    for pair in bound:
        index = check_round_trip(data[pair.index.digest])
        if index.subject is not None:
            _require_referrer(source, pair)
        ztocs |= dict.fromkeys(_ztocs(pair, index, data))
        listed = (index.config, *(index.layers or ()))
        others |= {blob.digest: blob for blob in listed if blob.media_type != media_types.ZTOC}
    for blob in others.values():
        _require(source, blob, "blob of a SOCI index")

    def read(one: LayerAndZtoc) -> None:
        _require(source, one.ztoc, f"zTOC of layer {one.layer.digest}")
        read_middle_span(source, one)

    for_each(ztocs, read, span_size_bytes=span_size_bytes)
    return ReadBack(manifests=len(documents), ztocs=len({one.ztoc.digest for one in ztocs}), spans=len(ztocs))


def _ztocs(pair: Bound, index: ImageManifest, data: Mapping[Digest, bytes]) -> Iterator[LayerAndZtoc]:
    """Find the layer of each zTOC in the image manifest, which alone gives its size."""
    image = ImageManifest.parse(data[pair.image.digest], f"manifest {pair.image.digest}")
    layers = {layer.digest: layer for layer in image.layers or ()}
    for digest, ztoc in ztocs_of(index).items():
        if digest not in layers:
            raise InvalidDocument(
                f"SOCI index {pair.index.digest}: layer {digest} is not in image {pair.image.digest}"
            )
        yield LayerAndZtoc(layer=layers[digest], ztoc=ztoc)


def _require(source: ImageSource, blob: Descriptor, what: str) -> None:
    if not source.has_blob(blob):
        raise BlobMissing(f"{what}: {blob.digest} was pushed, but is missing")


def _require_referrer(source: ImageSource, pair: Bound) -> None:
    """Check that the registry lists the index among the referrers of its image. Nothing else leads to the index."""
    if isinstance(source, ReferrerSource):
        found = source.fetch_referrers(pair.image.digest, media_types.SOCI_INDEX_V1)
        if pair.index.digest not in {one.digest for one in found}:
            raise BlobMissing(
                f"SOCI index {pair.index.digest} was pushed, but is not among the referrers of {pair.image.digest}"
            )
