"""One layer to its zTOC, in the layer's repository. Nothing refers to the zTOC before the image is published."""

from __future__ import annotations

import time

from soci.build.index_layers import LayerResult, index_layer
from soci.build.plan import PlannedLayer
from soci.build.push import push_ztoc
from soci.build.reuse import KnownZtocs, NothingKnown
from soci.errors import BlobMissing
from soci.image.documents import fetch_diff_ids_of, fetch_image
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageOpener, ImageSource, ImageStore
from soci.reasons import LeftOut, Reason
from soci.service.layer.entry import ZtocCatalog
from soci.service.layer.reuse import CatalogedZtocs
from soci.service.layer_messages import LayerItem, LayerJob, LayerOutcome
from soci.service.settings.configuration import Configuration


class _Count:
    """A `Progress` that only counts the bytes read."""

    read_bytes = 0

    def start(self, layer: Descriptor) -> None:
        pass

    def advance(self, layer: Descriptor, size_bytes: int) -> None:  # noqa: ARG002 - a port's method
        self.read_bytes += size_bytes

    def finish(self, layer: Descriptor) -> None:
        pass


def index_one_layer(
    job: LayerJob,
    configuration: Configuration,
    open_image: ImageOpener,
    catalog: ZtocCatalog | None = None,
) -> LayerOutcome:
    """Get a layer's zTOC into its repository, and for a zstd layer the recompressed layer: found or built.

    A forced job builds both, whatever the catalog knows, and records them. Running a job twice, even at the same time,
    gives the same bytes under the same digests.

    Raises:
        DamagedLayer, IntegrityError: the layer is broken or not what it should be.
        SourceError: the repository could not be read or written.
    """
    started, count = time.perf_counter(), _Count()
    settings, layer = configuration.index.settings, _plan(job.layer)
    store = open_image(job.repository, str(job.image))
    known: KnownZtocs = NothingKnown()
    if catalog is not None:
        known = CatalogedZtocs(
            catalog=catalog,
            settings=settings,
            repository=job.repository,
            image=job.image,
            store=store,
            open_image=open_image,
        )
    try:
        result = index_layer(
            store,
            layer,
            settings,
            sink=store,
            progress=count,
            known=NothingKnown() if job.force else known,
        )
    except BlobMissing:
        if not _may_lie_elsewhere(store, layer.descriptor.digest):
            raise
        result = LayerResult(descriptor=layer.descriptor, outcome=LeftOut(reason=Reason.FOREIGN))
    if result.reused is None:
        _push(store, layer, result, known)
    seconds = time.perf_counter() - started
    return _outcome_of(layer, result, seconds=seconds, read_bytes=count.read_bytes)


def _plan(item: LayerItem) -> PlannedLayer:
    layer = Descriptor(
        media_type=media_types.LAYER_TYPES[item.compression], digest=item.digest, size=item.size
    )
    return PlannedLayer(descriptor=layer, decision=item.compression)


def _push(store: ImageStore, layer: PlannedLayer, result: LayerResult, known: KnownZtocs) -> None:
    """Push what was built from a layer, and record it."""
    if isinstance(result.outcome, LeftOut):
        return
    _commit_recompressed(store, result)
    push_ztoc(store, result.outcome)
    known.record(layer, result.outcome, result.recompressed)


def _commit_recompressed(store: ImageStore, result: LayerResult) -> None:
    """Let a recompressed layer appear, if it unpacks to what the image's config says."""
    recompression = result.recompression
    if recompression is None:
        return
    try:
        for expected in fetch_diff_ids_of(store, recompression.layer.of):
            recompression.check_diff_id(expected)
        recompression.commit(store, result.descriptor)
    except BaseException:
        recompression.upload.abort()
        raise


def _outcome_of(layer: PlannedLayer, result: LayerResult, *, seconds: float, read_bytes: int) -> LayerOutcome:
    digest, outcome = layer.descriptor.digest, result.outcome
    if isinstance(outcome, LeftOut):
        return LayerOutcome(layer=digest, left_out=outcome, seconds=seconds, read_bytes=read_bytes)
    return LayerOutcome(
        layer=digest,
        ztoc=outcome.digest,
        size=len(outcome.ztoc),
        seconds=seconds,
        recompressed=result.recompressed,
        reused=result.reused,
    )


def _may_lie_elsewhere(source: ImageSource, layer: Digest) -> bool:
    """Tell whether the image calls a layer foreign, so that its bytes need not be in the repository."""
    manifests = (one.manifest for one in fetch_image(source).images)
    types = [one.media_type for manifest in manifests for one in manifest.layers or () if one.digest == layer]
    return bool(types) and all(map(media_types.is_foreign, types))
