"""One layer to its zTOC: streamed once, checked, pushed. Nothing refers to it before the image is published."""

from __future__ import annotations

import time
from dataclasses import replace

from soci.build.index_layers import LayerResult, index_layers
from soci.build.plan import PlannedLayer
from soci.build.push import push_ztoc
from soci.build.reuse import ReuseKey, reuse_key
from soci.errors import BlobMissing
from soci.image.documents import fetch_image
from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.ports import ImageOpener, ImageSource
from soci.reasons import LeftOut, Reason
from soci.service.layer.reuse import Entry, LayerPlace, NothingKnown, ZtocCatalog, fetch_diff_ids_of, reuse
from soci.service.layer_messages import GzipCopyMade, LayerJob, LayerOutcome
from soci.service.settings.configuration import Configuration


class _Count:
    """A `Progress` for where nobody watches: it only counts."""

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
    """Have a layer's zTOC in its repository, and of a zstd layer the gzip copy: made before, or made now.

    A forced job makes them now, whatever the catalog knows, and lets it know.
    Doing it twice, even at the same time, gives the same bytes under the same digests.

    Raises:
        DamagedLayer, IntegrityError: the layer is broken or not what it should be.
        SourceError: the repository could not be read or written.
    """
    started = time.perf_counter()
    catalog = catalog or NothingKnown()
    place = _place_of(job, configuration, open_image)
    key = reuse_key(place.planned, place.settings)
    reused = None if job.force else reuse(place, key, catalog)
    outcome = reused or _make(place, key, catalog)
    return replace(outcome, seconds=time.perf_counter() - started)


def _place_of(job: LayerJob, configuration: Configuration, open_image: ImageOpener) -> LayerPlace:
    item = job.layer
    layer = Descriptor(
        media_type=media_types.LAYER_TYPES[item.compression], digest=item.digest, size=item.size
    )
    return LayerPlace(
        planned=PlannedLayer(descriptor=layer, decision=item.compression),
        settings=configuration.index.settings,
        repository=job.repository,
        image=job.image,
        store=open_image(job.repository, str(job.image)),
        open_image=open_image,
    )


def _make(place: LayerPlace, key: ReuseKey, catalog: ZtocCatalog) -> LayerOutcome:
    """Stream the layer, push what comes of it, and let the catalog know."""
    layer, count = place.planned.descriptor.digest, _Count()
    try:
        result = index_layers(
            place.store, [place.planned], place.settings, sink=place.store, jobs=1, progress=count
        )[place.planned]
    except BlobMissing:
        if not _may_lie_elsewhere(place.store, layer):
            raise
        return LayerOutcome(layer=layer, left_out=LeftOut(reason=Reason.FOREIGN))
    if isinstance(result.outcome, LeftOut):
        return LayerOutcome(layer=layer, left_out=result.outcome, read_bytes=count.read_bytes)
    copy = _commit_copy(place, result)
    push_ztoc(place.store, result.outcome)
    ztoc, size = result.outcome.digest, len(result.outcome.ztoc)
    catalog.record(key, Entry(ztoc=ztoc, size=size, repositories=(place.repository,), copy=copy))
    return LayerOutcome(layer=layer, ztoc=ztoc, size=size, copy=copy)


def _commit_copy(place: LayerPlace, result: LayerResult) -> GzipCopyMade | None:
    """Let the gzip copy of a zstd layer appear, if it unpacks to what the image's config says."""
    if result.written is None:
        return None
    try:
        for expected in fetch_diff_ids_of(place.store, place.planned.descriptor.digest):
            result.written.check_diff_id(expected)
        result.written.commit(place.store, result.descriptor)
    except BaseException:
        result.written.upload.abort()
        raise
    return GzipCopyMade(digest=result.written.copy.digest, size=result.written.copy.size)


def _may_lie_elsewhere(source: ImageSource, layer: Digest) -> bool:
    """Tell whether the image calls a layer foreign, so that its bytes need not be in the repository."""
    manifests = (one.manifest for one in fetch_image(source).images)
    types = [one.media_type for manifest in manifests for one in manifest.layers or () if one.digest == layer]
    return bool(types) and all(map(media_types.is_foreign, types))
