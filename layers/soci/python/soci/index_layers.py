"""Indexing the layers of an image, several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Protocol

from soci.oci import media_types
from soci.oci.descriptor import Descriptor
from soci.oci.digest import Digest
from soci.plan import PlannedLayer
from soci.ports import ImageSource
from soci.reasons import LeftOut, Reason
from soci.settings import IndexSettings, MultiMember
from soci.ztoc.builder import IndexedLayer, LayerIndexer, LayerTask
from soci.ztoc.model import CompressionAlgorithm


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
    outcome: IndexedLayer | LeftOut
    seconds: float = 0.0


def index_layers(
    source: ImageSource,
    layers: Iterable[PlannedLayer],
    settings: IndexSettings,
    *,
    jobs: int,
    progress: Progress,
) -> dict[PlannedLayer, LayerResult]:
    """Index layers in parallel, the largest first, each content once; nothing is written.

    Raises:
        DamagedLayer, IntegrityError: a layer is broken or not what it should be; the others are given up.
        SourceError: the source cannot be read.
    """
    layers = tuple(layers)
    contents = {_content_of(layer): layer for layer in layers}
    unique = sorted(contents.values(), key=lambda layer: -layer.descriptor.size)
    stop = threading.Event()

    def index(layer: PlannedLayer) -> LayerResult:
        return _index_layer(source, layer, settings, stop, progress)

    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(index, layer) for layer in unique]
        try:
            for task in as_completed(tasks):
                task.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    outcomes = {_content_of(layer): task.result() for layer, task in zip(unique, tasks, strict=True)}
    return {layer: replace(outcomes[_content_of(layer)], descriptor=layer.descriptor) for layer in layers}


def _content_of(layer: PlannedLayer) -> tuple[Digest, int, CompressionAlgorithm | LeftOut]:
    """Return what has to be equal for one result to do for two layers."""
    return layer.descriptor.digest, layer.descriptor.size, layer.decision


def _index_layer(
    source: ImageSource,
    layer: PlannedLayer,
    settings: IndexSettings,
    stop: threading.Event,
    progress: Progress,
) -> LayerResult:
    descriptor = layer.descriptor
    if isinstance(layer.decision, LeftOut):
        return LayerResult(descriptor=descriptor, outcome=layer.decision)
    if media_types.is_foreign(descriptor.media_type) and not source.has_blob(descriptor):
        return LayerResult(descriptor=descriptor, outcome=LeftOut(reason=Reason.FOREIGN))
    task = LayerTask(
        expected_digest=descriptor.digest,
        expected_bytes=descriptor.size,
        algorithm=layer.decision,
        span_size_bytes=settings.span_size_bytes,
        build_tool_identifier=settings.build_tool_identifier,
        multi_member=settings.multi_member is MultiMember.INDEX,
    )
    started = time.perf_counter()
    progress.start(descriptor)
    with source.open_blob(descriptor) as chunks, LayerIndexer(task) as indexer:
        for chunk in chunks:
            if stop.is_set():
                raise CancelledError
            indexer.feed(chunk)
            progress.advance(descriptor, len(chunk))
        outcome = indexer.finish()
    progress.finish(descriptor)
    return LayerResult(descriptor=descriptor, outcome=outcome, seconds=time.perf_counter() - started)
