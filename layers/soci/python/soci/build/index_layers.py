"""Indexing the layers of an image: one layer, or several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TypeVar

from soci.build.layer import RecompressedLayer, Reused
from soci.build.plan import PlannedLayer, plan_task
from soci.build.recompress import Recompression, recompress_and_index
from soci.build.reuse import KnownZtoc, KnownZtocs
from soci.image.progress import Progress
from soci.oci import media_types
from soci.oci.compression import Compression
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.places.cancellation import Cancellation, current_cancellation
from soci.places.ports import ArtifactSink, ImageSource
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings
from soci.ztoc.indexer import LayerIndexer
from soci.ztoc.model import IndexedLayer, LayerTask

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What stands in front of a layer that was written anew for a start."""

    entries: int
    size_bytes: int
    """Uncompressed, with headers."""
    left: int
    """Files of the start that stay where they are, because order carries meaning there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One layer of an image, its zTOC or the reason why it has none, and how long that took."""

    descriptor: Descriptor
    """As the converted image has it. It may be that of a new layer."""
    outcome: IndexedLayer | LeftOut
    seconds: float = 0.0
    recompressed: RecompressedLayer | None = None
    """The gzip layer that the zTOC is for, if the planned layer was written anew."""
    recompression: Recompression | None = None
    """The upload of that layer, which is still to be committed."""
    reused: Reused | None = None
    """Where the zTOC was found; None if it was built."""
    front: Front | None = None
    """What was put in front; None if the layer's entries keep their order."""


def index_layers(
    source: ImageSource,
    layers: Iterable[PlannedLayer],
    settings: IndexSettings,
    *,
    sink: ArtifactSink,
    jobs: int,
    progress: Progress,
    known: KnownZtocs,
) -> dict[PlannedLayer, LayerResult]:
    """Index layers in parallel, the largest first, each content once. Nothing appears in the sink.

    Recompressed layers are uploaded, but not committed. The caller commits them, or calls `abort_uploads`. Each zTOC
    is recorded as soon as it is built.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be. The others are given up.
        SourceError: the source cannot be read, or a zTOC cannot be recorded.
    """
    layers = tuple(layers)
    contents = {_content_of(layer): layer for layer in layers}
    unique = sorted(contents.values(), key=lambda layer: -layer.descriptor.size)

    def index(layer: PlannedLayer) -> LayerResult:
        result = index_layer(source, layer, settings, sink=sink, progress=progress, known=known)
        if isinstance(result.outcome, IndexedLayer) and result.reused is None:
            known.record(layer, result.outcome, result.recompressed)
        return result

    made = run_side_by_side(index, unique, jobs)
    results = {_content_of(layer): result for layer, result in zip(unique, made, strict=True)}
    return {layer: _result_for(layer, results[_content_of(layer)]) for layer in layers}


def run_side_by_side(
    work: Callable[[Item], LayerResult], items: Sequence[Item], jobs: int
) -> list[LayerResult]:
    """Return the result of each item, made by up to `jobs` threads. The first error ends the others and is raised."""
    cancellation = Cancellation()

    def run(item: Item) -> LayerResult:
        with cancellation.scope():
            return work(item)

    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(run, item) for item in items]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            cancellation.cancel()
            pool.shutdown(wait=True, cancel_futures=True)
            abort_uploads(task.result() for task in tasks if not task.cancelled() and not task.exception())
            raise
    return [task.result() for task in tasks]


def abort_uploads(results: Iterable[LayerResult]) -> None:
    """Give up recompressed layers that are not committed."""
    for result in results:
        if result.recompression is not None:
            result.recompression.upload.abort()


def index_layer(
    source: ImageSource,
    layer: PlannedLayer,
    settings: IndexSettings,
    *,
    sink: ArtifactSink,
    progress: Progress,
    known: KnownZtocs,
) -> LayerResult:
    """Index one layer: find its zTOC, or build it from the layer's bytes.

    A new zTOC is not written here: the caller pushes and records it. A recompressed layer is uploaded, but not
    committed. Foreign layers are built each time. A foreign layer that is not in the source is left out.

    Raises:
        DamagedLayer, IntegrityError: the layer is broken or not what it should be.
        SourceError: the source cannot be read.
    """
    descriptor, decision = layer.descriptor, layer.decision
    if isinstance(decision, LeftOut):
        return LayerResult(descriptor=descriptor, outcome=decision)
    is_foreign = media_types.is_foreign(descriptor.media_type)
    if is_foreign and not source.has_blob(descriptor):
        return LayerResult(descriptor=descriptor, outcome=LeftOut(reason=Reason.FOREIGN))
    started = time.perf_counter()
    found = None if is_foreign else known.find(layer)
    progress.start(descriptor)
    if found is not None:
        result = _result_of(descriptor, found)
    else:
        result = _build(source, descriptor, decision, settings, sink=sink, progress=progress)
    progress.finish(descriptor)
    return replace(_result_for(layer, result), seconds=time.perf_counter() - started)


def _result_for(layer: PlannedLayer, result: LayerResult) -> LayerResult:
    """Return a content's result for one of the layers that have this content."""
    recompressed = result.recompressed
    descriptor = layer.descriptor if recompressed is None else recompressed.describe(layer.descriptor)
    return replace(result, descriptor=descriptor)


def _content_of(layer: PlannedLayer) -> tuple[Digest, int, Compression | LeftOut]:
    """Return the key of a result: layers with the same key have the same result."""
    return layer.descriptor.digest, layer.descriptor.size, layer.decision


def _result_of(layer: Descriptor, found: KnownZtoc) -> LayerResult:
    return LayerResult(
        descriptor=layer, outcome=found.indexed, recompressed=found.recompressed, reused=found.reused
    )


def _build(
    source: ImageSource,
    layer: Descriptor,
    compression: Compression,
    settings: IndexSettings,
    *,
    sink: ArtifactSink,
    progress: Progress,
) -> LayerResult:
    """Read the layer once, and build its zTOC on the way."""
    with source.open_blob(layer) as chunks:
        seen = watched(layer, chunks, progress)
        if compression is not Compression.ZSTD:
            outcome = _index(plan_task(settings, compression, layer), seen)
            return LayerResult(descriptor=layer, outcome=outcome)
        outcome, recompression = recompress_and_index(layer, seen, sink, settings)
    recompressed = recompression.layer if recompression else None
    return LayerResult(
        descriptor=layer, outcome=outcome, recompressed=recompressed, recompression=recompression
    )


def watched(layer: Descriptor, chunks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    """Pass chunks on and report their sizes, until the run is cancelled."""
    cancellation = current_cancellation()
    for chunk in chunks:
        cancellation.check()
        yield chunk
        progress.advance(layer, len(chunk))


def _index(task: LayerTask, chunks: Iterable[bytes]) -> IndexedLayer | LeftOut:
    with LayerIndexer(task) as indexer:
        for chunk in chunks:
            indexer.feed(chunk)
        return indexer.finish()
