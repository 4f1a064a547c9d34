"""One layer to its zTOC: streamed once, checked, pushed. Nothing refers to it before the image is published."""

from __future__ import annotations

from soci.errors import BlobMissing
from soci.fetch import fetch_image
from soci.index_layers import LayerResult, index_layers
from soci.layer_copies import LayerCopy
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.plan import PlannedLayer, Recompress
from soci.ports import ImageOpener, ImageSource, ImageStore
from soci.push import push_ztoc
from soci.reasons import LeftOut, Reason
from soci.service.configuration import Configuration
from soci.service.messages import GzipCopyMade, LayerCompression, LayerJob, LayerOutcome
from soci.ztoc.model import CompressionAlgorithm

_DECISIONS: dict[LayerCompression, tuple[str, CompressionAlgorithm | Recompress]] = {
    LayerCompression.GZIP: (media_types.OCI_LAYER_GZIP, CompressionAlgorithm.GZIP),
    LayerCompression.NONE: (media_types.OCI_LAYER, CompressionAlgorithm.UNCOMPRESSED),
    LayerCompression.ZSTD: (media_types.OCI_LAYER_ZSTD, Recompress.TO_GZIP),
}


class _Silence:
    """A `Progress` for where nobody watches."""

    def start(self, layer: Descriptor) -> None:
        pass

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        pass

    def finish(self, layer: Descriptor) -> None:
        pass


def index_one_layer(job: LayerJob, configuration: Configuration, open_image: ImageOpener) -> LayerOutcome:
    """Build a layer's zTOC and push it; of a zstd layer, the gzip copy as well.

    Doing it twice, even at the same time, gives the same bytes under the same digests.

    Raises:
        DamagedLayer, IntegrityError: the layer is broken or not what it should be.
        SourceError: the repository could not be read or written.
    """
    store = open_image(job.repository, str(job.image))
    media_type, decision = _DECISIONS[job.layer.compression]
    layer = Descriptor(media_type=media_type, digest=job.layer.digest, size=job.layer.size)
    planned = PlannedLayer(descriptor=layer, decision=decision)
    try:
        result = index_layers(
            store, [planned], configuration.index.settings, sink=store, jobs=1, progress=_Silence()
        )[planned]
    except BlobMissing:
        if not _may_lie_elsewhere(store, layer.digest):
            raise
        return LayerOutcome(layer=layer.digest, left_out=LeftOut(reason=Reason.FOREIGN))
    return _push(store, layer.digest, result)


def _push(store: ImageStore, layer: Digest, result: LayerResult) -> LayerOutcome:
    if isinstance(result.outcome, LeftOut):
        return LayerOutcome(layer=layer, left_out=result.outcome, seconds=result.seconds)
    if result.written is not None:
        try:
            result.written.commit(store, result.descriptor)
        except BaseException:
            result.written.upload.abort()
            raise
    push_ztoc(store, result.outcome)
    return LayerOutcome(
        layer=layer,
        ztoc=result.outcome.digest,
        size=len(result.outcome.ztoc),
        needs_xattrs=result.outcome.needs_xattrs,
        seconds=result.seconds,
        copy=_copy_made(result.copy) if result.copy else None,
    )


def _copy_made(copy: LayerCopy) -> GzipCopyMade:
    return GzipCopyMade(digest=copy.digest, size=copy.size, diff_id=copy.diff_id)


def _may_lie_elsewhere(source: ImageSource, layer: Digest) -> bool:
    """Tell whether the image calls a layer foreign, so that its bytes need not be in the repository."""
    manifests = (one.manifest for one in fetch_image(source).images)
    types = [one.media_type for manifest in manifests for one in manifest.layers or () if one.digest == layer]
    return bool(types) and all(map(media_types.is_foreign, types))
