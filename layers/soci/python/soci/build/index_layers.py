"""Indexing the layers of an image, several at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Protocol

from soci.build.plan import PlannedLayer, plan_task
from soci.build.recompress import LayerCopy, WrittenCopy, copy_and_index
from soci.build.reuse import ZtocCache, recall, reuse_key
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.cancel import Stop, current_stop
from soci.places.ports import ArtifactSink, ImageSource
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer


class Progress(Protocol):
    """Someone who wants to know how far each layer is; called from several threads."""

    def start(self, layer: Descriptor) -> None:
        """Say that a layer is about to be read."""

    def advance(self, layer: Descriptor, size_bytes: int) -> None:
        """Say that so many more bytes of it have been read."""

    def finish(self, layer: Descriptor) -> None:
        """Say that its zTOC is there, or that it was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One layer of an image, its zTOC or the reason why it has none, and how long that took."""

    descriptor: Descriptor
    """As the converted image has it: of a zstd layer that was recompressed, the gzip copy."""
    outcome: IndexedLayer | LeftOut
    seconds: float = 0.0
    written: WrittenCopy | None = None
    reused: bool = False
    """Whether the zTOC came out of a cache, so that only a few spans of the layer were read."""

    @property
    def copy(self) -> LayerCopy | None:
        """The gzip copy of a zstd layer, if one was made."""
        return None if self.written is None else self.written.copy


def index_layers(
    source: ImageSource,
    layers: Iterable[PlannedLayer],
    settings: IndexSettings,
    *,
    sink: ArtifactSink,
    jobs: int,
    progress: Progress,
    cache: ZtocCache | None = None,
) -> dict[PlannedLayer, LayerResult]:
    """Index layers in parallel, the largest first, each content once; nothing appears in the sink.

    Copies of zstd layers are written there, but not committed: that is up to the caller, as is `abort_copies`. The
    zTOCs of all other layers are kept in the cache, and come out of it if they are there and right.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read, or the cache not written.
    """
    layers = tuple(layers)
    contents = {_content_of(layer): layer for layer in layers}
    unique = sorted(contents.values(), key=lambda layer: -layer.descriptor.size)
    stop = Stop()

    def index(layer: PlannedLayer) -> LayerResult:
        with stop.governs():
            recalled = _recall(source, layer, settings, progress, cache)
            if recalled is not None:
                return recalled
            result = _index_layer(source, layer, settings, sink=sink, progress=progress)
            if cache is not None and isinstance(result.outcome, IndexedLayer) and result.written is None:
                cache.keep(reuse_key(layer, settings), result.outcome.ztoc)
            return result

    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(index, layer) for layer in unique]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            abort_copies(task.result() for task in tasks if not task.cancelled() and not task.exception())
            raise
    outcomes = {_content_of(layer): task.result() for layer, task in zip(unique, tasks, strict=True)}
    return {layer: _result_for(layer, outcomes[_content_of(layer)]) for layer in layers}


def abort_copies(results: Iterable[LayerResult]) -> None:
    """Give up copies that were not committed."""
    for result in results:
        if result.written is not None:
            result.written.upload.abort()


def _result_for(layer: PlannedLayer, result: LayerResult) -> LayerResult:
    """Return a content's result for one of the layers that have this content."""
    descriptor = layer.descriptor if result.copy is None else result.copy.describe(layer.descriptor)
    return replace(result, descriptor=descriptor)


def _content_of(layer: PlannedLayer) -> tuple[Digest, int, Compression | LeftOut]:
    """Return what has to be equal for one result to do for two layers."""
    return layer.descriptor.digest, layer.descriptor.size, layer.decision


def _index_layer(
    source: ImageSource,
    layer: PlannedLayer,
    settings: IndexSettings,
    *,
    sink: ArtifactSink,
    progress: Progress,
) -> LayerResult:
    descriptor = layer.descriptor
    if isinstance(layer.decision, LeftOut):
        return LayerResult(descriptor=descriptor, outcome=layer.decision)
    if media_types.is_foreign(descriptor.media_type) and not source.has_blob(descriptor):
        return LayerResult(descriptor=descriptor, outcome=LeftOut(reason=Reason.FOREIGN))
    started = time.perf_counter()
    progress.start(descriptor)
    written = None
    with source.open_blob(descriptor) as chunks:
        watched = _watched(descriptor, chunks, progress)
        if layer.is_recompressed:
            outcome, written = copy_and_index(descriptor, watched, sink, settings)
        else:
            outcome = _index(descriptor, layer.decision, watched, settings)
    progress.finish(descriptor)
    return LayerResult(
        descriptor=descriptor, outcome=outcome, seconds=time.perf_counter() - started, written=written
    )


def _recall(
    source: ImageSource,
    layer: PlannedLayer,
    settings: IndexSettings,
    progress: Progress,
    cache: ZtocCache | None,
) -> LayerResult | None:
    """Have a zTOC out of the cache; None when it has to be made."""
    descriptor = layer.descriptor
    if cache is None or isinstance(layer.decision, LeftOut) or layer.is_recompressed:
        return None
    if media_types.is_foreign(descriptor.media_type):
        return None
    started = time.perf_counter()
    outcome = recall(cache, reuse_key(layer, settings), source, descriptor, settings)
    if outcome is None:
        return None
    progress.start(descriptor)
    progress.finish(descriptor)
    return LayerResult(
        descriptor=descriptor, outcome=outcome, seconds=time.perf_counter() - started, reused=True
    )


def _watched(layer: Descriptor, chunks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    """Pass chunks on and tell of them, until the run is stopped."""
    stop = current_stop()
    for chunk in chunks:
        stop.check()
        yield chunk
        progress.advance(layer, len(chunk))


def _index(
    layer: Descriptor, compression: Compression, chunks: Iterable[bytes], settings: IndexSettings
) -> IndexedLayer | LeftOut:
    with LayerIndexer(plan_task(settings, compression, layer)) as indexer:
        for chunk in chunks:
            indexer.feed(chunk)
        return indexer.finish()
