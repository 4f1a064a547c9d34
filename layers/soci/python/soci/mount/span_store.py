"""The content of an image's layers for a mount: by spans through a zTOC, or whole without one.

StoredFile.read ─> SpanStore.read ─> SpanFetcher ─> SpanCache: a file, read where it lies
     │                    └───────> WholeLayer ──> SpanCache
     └ reads ahead, in threads of its own
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace

from soci.errors import InvalidZtoc, SpanUnreadable
from soci.image.indexed import ImageLayer, IndexedImage, fetch_ztoc
from soci.image.progress import Progress
from soci.mount.prefetch_run import PREFETCH_AT_ONCE, PREFETCH_SECONDS, PrefetchResult, PrefetchRun
from soci.mount.read_ahead import ReadOrder
from soci.mount.span_cache import SpanCache
from soci.mount.span_fetch import MAX_JOINED_BYTES, FetchCounts, SpanFetcher
from soci.mount.span_key import MAX_SPANS, group_of
from soci.mount.span_layer import SpanLayer, check_spans_of, joined
from soci.mount.whole_layer import WholeLayer
from soci.oci import media_types
from soci.oci.digest import Digest
from soci.places.cancellation import Cancellation
from soci.places.ports import ImageSource
from soci.reasons import LeftOut, Reason
from soci.ztoc.decode import decode_compression_info, decode_files, decode_span_count
from soci.ztoc.model import FileEntry, Span

LAYERS_AT_ONCE = 4
"""Layers without a zTOC that are loaded at the same time, and zTOCs."""

MAX_ENTRIES = 2_000_000
"""Entries of all layers together, some GB of memory. The largest real images have some hundred thousand."""

MAX_ZTOCS_BYTES = 1 << 30
"""The sizes of an image's zTOCs together, which stay in memory: enough for 32,000 spans."""

AHEAD_AT_ONCE = 4
"""Requests of reading ahead at the same time."""

_TRIES = 3
"""A span may leave a small cache before it is read."""

_LOG = logging.getLogger("soci.mount")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer of a mounted image."""

    digest: Digest
    entries: Sequence[FileEntry]
    """In the order of the tar."""
    left_out: LeftOut | None
    """Why entries are missing; None if all are there."""
    spans: tuple[Span, ...] | None
    """None for a layer without a zTOC."""


class StoredFile:
    """An open file of the mount, which reads ahead when it is read in order. Shared by threads."""

    def __init__(self, store: SpanStore, layer: int, entry: FileEntry) -> None:
        self.size_bytes = entry.uncompressed_size
        self._store = store
        self._layer = layer
        self._at = entry.uncompressed_offset
        self._order = ReadOrder()

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on; fewer only where the file ends. Raises `SpanUnreadable`."""
        end = min(offset + size, self.size_bytes)
        if offset >= end:
            return b""
        ahead = self._order.note(offset, end, size_bytes=self.size_bytes)
        if ahead is not None:
            self._store.read_ahead(self._layer, self._at + ahead[0], self._at + ahead[1])
        return self._store.read(self._layer, self._at + offset, self._at + end)


class SpanStore:
    """The content of an image's layers. Shared by threads. `layers` are listed from the bottom up."""

    def __init__(self, source: ImageSource, fetcher: SpanFetcher, opened: Sequence[_Opened]) -> None:
        self.layers = tuple(one.stored for one in opened)
        self._source = source
        self._fetcher = fetcher
        self._described = [one.layer for one in opened]
        self._contents = [one.content for one in opened]
        self._starts = [[span.uncompressed_start for span in one.stored.spans or ()] for one in opened]
        self._ahead = ThreadPoolExecutor(AHEAD_AT_ONCE, thread_name_prefix="ahead")
        self._prefetch = ThreadPoolExecutor(PREFETCH_AT_ONCE, thread_name_prefix="prefetch")

    def cancel(self) -> None:
        """End all fetches at once: reads that wait raise `SpanUnreadable`, and so do all later ones that fetch."""
        self._fetcher.close()
        for one in self._contents:
            if isinstance(one, WholeLayer):
                one.cancel()

    def close(self) -> None:
        """End all work in the background, and wait for it."""
        self.cancel()
        self._prefetch.shutdown(wait=True, cancel_futures=True)
        self._ahead.shutdown(wait=True, cancel_futures=True)

    @property
    def counts(self) -> FetchCounts:
        """What was fetched so far, with the layers that were loaded whole."""
        whole = sum(one.bytes_fetched for one in self._contents if isinstance(one, WholeLayer))
        counts = self._fetcher.counts
        return replace(counts, bytes_fetched=counts.bytes_fetched + whole)

    def open_file(self, layer: int, entry: FileEntry) -> StoredFile:
        """Return an entry of type reg for reading. Reads nothing yet."""
        return StoredFile(self, layer, entry)

    def spans_of(self, layer: int, start: int, end: int) -> range:
        """Return the numbers of the spans that hold bytes [start, end); none for a layer without a zTOC."""
        starts = self._starts[layer]
        if not starts or start >= end:
            return range(0)
        return range(bisect_right(starts, start) - 1, bisect_right(starts, end - 1))

    def read(self, layer: int, start: int, end: int) -> bytes:
        """Return bytes [start, end) of the uncompressed layer. Raises `SpanUnreadable`; a later call tries again."""
        content = self._contents[layer]
        if isinstance(content, WholeLayer):
            return content.read(start, end)
        if content is None or end > content.end_bytes:
            raise self._outside(layer, start, end)
        numbers = self.spans_of(layer, start, end)
        parts = [self._read_span(content, numbers, number, start, end) for number in numbers]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_ahead(self, layer: int, start: int, end: int) -> None:
        """Fetch the spans that hold bytes [start, end), in the background. Errors are left to the read that comes."""
        content = self._contents[layer]
        if not isinstance(content, SpanLayer):
            return
        numbers = self.spans_of(layer, start, min(end, content.end_bytes))
        missing = self._fetcher.missing(content, numbers.start, numbers.stop - 1)
        for first, last in joined(content.info.spans, missing, limit_bytes=MAX_JOINED_BYTES):
            self._ahead.submit(self._fetch_quietly, content, first, last)

    def prefetch(self, *, seconds: float = PREFETCH_SECONDS) -> PrefetchResult:
        """Fetch what the image's prefetch artifacts name, and wait for it so long at most. Only logs what fails."""
        run = PrefetchRun(self._fetch_spans, self._prefetch)
        spans = (one.spans for one in self.layers)
        return run.run(self._source, list(zip(self._described, spans, strict=True)), seconds=seconds)

    def _fetch_spans(self, layer: int, first: int, last: int) -> None:
        content = self._contents[layer]
        if isinstance(content, SpanLayer):
            self._fetcher.ensure(content, first, last)

    def _fetch_quietly(self, layer: SpanLayer, first: int, last: int) -> None:
        try:
            self._fetcher.ensure(layer, first, last)
        except SpanUnreadable as error:
            _LOG.debug("reading ahead: %s", error)

    def _read_span(self, layer: SpanLayer, numbers: range, number: int, start: int, end: int) -> bytes:
        span = layer.info.spans[number]
        part = max(start, span.uncompressed_start), min(end, span.uncompressed_end)
        from_, to = (at - span.uncompressed_start for at in part)
        for _ in range(_TRIES):
            data = self._fetcher.read(layer, number, from_, to)
            if data is not None:
                return data
            self._fetcher.ensure(layer, number, numbers[-1])
        raise SpanUnreadable(
            f"layer {layer.descriptor.digest}: span {number} left the cache before it was read; make the cache larger"
        )

    def _outside(self, layer: int, start: int, end: int) -> SpanUnreadable:
        return SpanUnreadable(f"layer {self.layers[layer].digest}: bytes {start} to {end} lie outside of it")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    layer: ImageLayer
    stored: StoredLayer
    content: SpanLayer | WholeLayer | None
    """None for a foreign layer that is missing."""


@contextmanager
def open_span_store(
    source: ImageSource, image: IndexedImage, cache: SpanCache, *, progress: Progress
) -> Iterator[SpanStore]:
    """Open an image: read its zTOCs, and load the layers without one, several at a time.

    Raises:
        IntegrityError, DamagedLayer: a zTOC or a layer is broken.
        SourceError: the source cannot be read, or the cache has no room for a layer without a zTOC.
    """
    layers = dict.fromkeys(image.layers)  # an image may have a layer twice
    size_bytes = sum(layer.ztoc.size for layer in layers if layer.ztoc)
    if size_bytes > MAX_ZTOCS_BYTES:
        raise InvalidZtoc(f"the image's zTOCs have {size_bytes} bytes, the limit is {MAX_ZTOCS_BYTES}")
    cancellation = Cancellation()
    room = _EntryRoom(MAX_ENTRIES)

    def open_layer(layer: ImageLayer) -> _Opened:
        with cancellation.scope():
            return _open_layer(source, layer, cache, progress, room)

    with ThreadPoolExecutor(LAYERS_AT_ONCE, thread_name_prefix="layer") as pool:
        tasks = {layer: pool.submit(open_layer, layer) for layer in sorted(layers, key=_size_to_read)}
        try:
            for task in as_completed(tasks.values()):
                task.result()
        except BaseException:
            cancellation.cancel()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    store = SpanStore(source, SpanFetcher(source, cache), [tasks[layer].result() for layer in image.layers])
    try:
        yield store
    finally:
        store.close()


def _size_to_read(layer: ImageLayer) -> int:
    """Return a key that puts the largest first."""
    return -(layer.ztoc or layer.descriptor).size


def _open_layer(
    source: ImageSource, layer: ImageLayer, cache: SpanCache, progress: Progress, room: _EntryRoom
) -> _Opened:
    descriptor = layer.descriptor
    if layer.ztoc is not None:
        return _open_indexed(fetch_ztoc(source, layer.ztoc), layer, room)
    if media_types.is_foreign(descriptor.media_type) and not source.has_blob(descriptor):
        return _opened(layer, (), None, None, LeftOut(reason=Reason.FOREIGN))
    whole = WholeLayer(source, cache, descriptor)
    whole.load(progress)
    entries = tuple(room.taken(whole.read_entries()))
    if whole.left_out and whole.left_out.reason in (Reason.GLOBAL_PAX_HEADER, Reason.SPARSE_FILE):
        entries = tuple(room.taken(whole.read_all_entries()))
    return _opened(layer, entries, None, whole, whole.left_out)


def _open_indexed(ztoc_bytes: bytes, layer: ImageLayer, room: _EntryRoom) -> _Opened:
    count = decode_span_count(ztoc_bytes)
    if count > MAX_SPANS:
        raise InvalidZtoc(
            f"layer {layer.descriptor.digest}: its zTOC has {count} spans, the limit is {MAX_SPANS}"
        )
    info = decode_compression_info(ztoc_bytes)
    check_spans_of(layer.descriptor, info)
    group = group_of(layer.descriptor.digest, layer.ztoc.digest if layer.ztoc else None)
    content = SpanLayer(descriptor=layer.descriptor, group=group, info=info)
    entries = tuple(room.taken(decode_files(ztoc_bytes)))
    return _opened(layer, entries, info.spans, content, None)


def _opened(
    layer: ImageLayer,
    entries: Sequence[FileEntry],
    spans: tuple[Span, ...] | None,
    content: SpanLayer | WholeLayer | None,
    left_out: LeftOut | None,
) -> _Opened:
    stored = StoredLayer(digest=layer.descriptor.digest, entries=entries, left_out=left_out, spans=spans)
    return _Opened(layer=layer, stored=stored, content=content)


class _EntryRoom:
    """The number of entries that all layers of an image may have together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0

    def taken(self, entries: Iterable[FileEntry]) -> Iterator[FileEntry]:
        """Pass entries on. Raises `InvalidZtoc` for too many."""
        for entry in entries:
            self._count += 1  # threads may lose a count now and then: the limit need not be exact
            if self._count > self._limit:
                raise InvalidZtoc(f"the image's layers have more than {self._limit} entries together")
            yield entry
