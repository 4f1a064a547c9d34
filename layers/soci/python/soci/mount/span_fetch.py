"""Fetching spans: neighbours in one request, each span by one thread of one mount, however many want it.

    reader 1 ─┐                                  ┌─ file in the cache ─> all readers
    reader 2 ─┼─ flight of the span ─ lock ─ GET ─ digest ─ inflate
    mount 2 ──┘  (in this process)   (between processes)

A flight ends with the span in the cache, or with an error for all that wait for it. Nothing of an error is kept, so
the next read tries again. If the cache cannot take a span (no room, a read-only or removed directory), memory keeps the
latest ones instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from soci.errors import (
    DigestMismatch,
    SizeMismatch,
    SociError,
    SpanUnreadable,
    Stopped,
    StorageError,
)
from soci.mount.span_cache import SpanCache
from soci.mount.span_key import SpanKey
from soci.mount.span_layer import SpanLayer
from soci.mount.span_memory import ByteBudget, KeptSpans
from soci.places.cancellation import Cancellation, cancel_after, cancellable_sleep, current_cancellation
from soci.places.ports import ImageSource
from soci.ztoc.extract import SpanBytes, SpanReader
from soci.ztoc.model import Span

FETCH_SECONDS = 60.0
"""A read ends after this time and a second for each MiB that it fetches."""

MAX_JOINED_BYTES = 8 << 20
"""The most that neighbouring spans fetch in one request, unless a single span is larger."""

LARGE_SPAN_BYTES = 32 << 20
"""A larger span comes through a file, piece by piece. Old tools put all later members of a layer into one span."""

MAX_FLIGHT_BYTES = 128 << 20
"""Compressed bytes in memory at a time."""

MEMORY_BYTES = 64 << 20
"""Inflated spans that memory keeps when the cache directory fails."""

_LOCK_SECONDS = 20.0
"""How long to wait for another mount that fetches the span. It may be stopped; a second fetch only costs its bytes."""

_POLL_SECONDS = 0.01


@dataclass(slots=True, kw_only=True)
class FetchCounts:
    """What was fetched so far."""

    requests: int = 0
    bytes_fetched: int = 0
    """Compressed bytes of layers."""
    spans_fetched: int = 0
    spans_in_memory: int = 0
    """Spans that the cache directory could not take."""
    failures: int = 0


@dataclass(slots=True)
class _Flight:
    """A span that is being fetched."""

    done: threading.Event = field(default_factory=threading.Event)
    error: str = ""


class SpanFetcher:
    """Brings spans into the cache. Shared by threads."""

    def __init__(self, source: ImageSource, cache: SpanCache) -> None:
        self.counts = FetchCounts()
        self._source = source
        self._cache = cache
        self._closing = Cancellation()
        self._lock = threading.Lock()
        self._flights: dict[SpanKey, _Flight] = {}
        self._memory = KeptSpans(MEMORY_BYTES)
        self._budget = ByteBudget(MAX_FLIGHT_BYTES)

    def close(self) -> None:
        """End all fetches."""
        self._closing.cancel()

    def read(self, layer: SpanLayer, number: int, start: int, end: int) -> bytes | None:
        """Return bytes [start, end) of a span's content; None if it is neither in the cache nor in memory."""
        kept = self._memory.get(layer.key(number))
        if kept is not None:
            return kept[start:end]
        try:
            return self._cache.read(layer.key(number), start, end, size_bytes=layer.size_bytes(number))
        except OSError as error:
            self._cache.complain("cannot be read", error)
            return None

    def ensure(self, layer: SpanLayer, first: int, last: int) -> None:
        """Bring the spans `first` to `last` into the cache. Raises `SpanUnreadable` for one that fails."""
        missing = [number for number in range(first, last + 1) if not self._has(layer, number)]
        while missing:
            run = self._claim(layer, missing)
            if run:
                flights = self._fetch(layer, run)
            else:
                run = missing[:1]
                flights = self._wait(layer, run[0])
            for flight in flights:
                if flight.error:
                    raise SpanUnreadable(flight.error)
            missing = [number for number in missing if number not in run]

    def missing(self, layer: SpanLayer, first: int, last: int) -> list[int]:
        """Return those of the spans `first` to `last` that are neither there nor on their way."""
        with self._lock:
            flying = [layer.key(number) in self._flights for number in range(first, last + 1)]
        return [
            first + at for at, flies in enumerate(flying) if not flies and not self._has(layer, first + at)
        ]

    def _has(self, layer: SpanLayer, number: int) -> bool:
        key = layer.key(number)
        return self._memory.get(key) is not None or self._cache.has(key, size_bytes=layer.size_bytes(number))

    def _claim(self, layer: SpanLayer, missing: Sequence[int]) -> list[int]:
        """Start flights of the first spans that nobody fetches: neighbours, up to the size of a request."""
        run: list[int] = []
        with self._lock:
            for number in missing:
                is_free = layer.key(number) not in self._flights
                if is_free and (not run or _joins(layer.info.spans, run, number)):
                    run.append(number)
                elif run:
                    break
            for number in run:
                self._flights[layer.key(number)] = _Flight()
        return run

    def _wait(self, layer: SpanLayer, number: int) -> list[_Flight]:
        """Wait for the thread that fetches a span, which ends within its own time."""
        with self._lock:
            flight = self._flights.get(layer.key(number))
        if flight is None:
            return []
        flight.done.wait()
        return [flight]

    def _fetch(self, layer: SpanLayer, run: Sequence[int]) -> list[_Flight]:
        """Fetch the spans of a run, whose flights this thread has started."""
        flights = [self._flights[layer.key(number)] for number in run]
        size_bytes = layer.info.spans[run[-1]].end - layer.info.spans[run[0]].start
        seconds = FETCH_SECONDS + (size_bytes >> 20)
        why = "the fetch was given up"
        try:
            with self._within(seconds), self._locked(layer, run):
                for part in self._still_missing(layer, run):
                    self._fetch_part(layer, part)
            why = ""
        except Stopped:
            why = "the mount ends" if self._closing.is_cancelled() else f"not there after {seconds:.0f} s"
        except SociError as error:
            why = str(error)
        finally:
            with self._lock:
                for number in run:
                    self._end(layer, number, why)
        return flights

    def _end(self, layer: SpanLayer, number: int, why: str) -> None:
        """End a flight, unless it ended before. Call it with the lock."""
        flight = self._flights.pop(layer.key(number), None)
        if flight is None:
            return
        if why:
            span = layer.info.spans[number]
            self.counts.failures += 1
            flight.error = (
                f"layer {layer.descriptor.digest}: span {number} (bytes {span.start} to {span.end}) cannot be read:"
                f" {why}"
            )
        flight.done.set()

    def _fetch_part(self, layer: SpanLayer, numbers: Sequence[int]) -> None:
        """Fetch neighbouring spans with one request, check and keep each. A wrong span fails alone."""
        spans = [layer.info.spans[number] for number in numbers]
        base, end = spans[0].start, spans[-1].end
        if end - base > LARGE_SPAN_BYTES:
            self._fetch_large(layer, numbers[0])
            return
        with self._budget.taken(end - base):
            data = memoryview(self._fetch_range(layer, base, end))
            for number, span in zip(numbers, spans, strict=True):
                why = ""
                try:
                    self._keep_right(layer, number, bytes(data[span.start - base : span.end - base]))
                except SociError as error:
                    why = str(error)
                with self._lock:
                    self.counts.spans_fetched += not why
                    self._end(layer, number, why)

    def _fetch_large(self, layer: SpanLayer, number: int) -> None:
        """Fetch a large span into a file, and inflate it from there."""
        span = layer.info.spans[number]
        with self._cache.scratch(layer.key(number), size_bytes=span.end - span.start) as scratch:
            for start in range(span.start, span.end, MAX_JOINED_BYTES):
                end = min(start + MAX_JOINED_BYTES, span.end)
                with self._budget.taken(end - start):
                    scratch.write(self._fetch_range(layer, start, end))
            self._keep(layer, number, scratch.mapped())
        with self._lock:
            self.counts.spans_fetched += 1
            self._end(layer, number, "")

    def _fetch_range(self, layer: SpanLayer, start: int, end: int) -> bytes:
        data = self._source.fetch_range(layer.descriptor, start, end)
        with self._lock:
            self.counts.requests += 1
            self.counts.bytes_fetched += len(data)
        return data

    def _keep_right(self, layer: SpanLayer, number: int, data: bytes) -> None:
        """Keep a span. If its bytes are wrong, fetch it once more: a program would not survive the error."""
        try:
            self._keep(layer, number, data)
        except (DigestMismatch, SizeMismatch):
            span = layer.info.spans[number]
            self._keep(layer, number, self._fetch_range(layer, span.start, span.end))

    def _keep(self, layer: SpanLayer, number: int, data: SpanBytes) -> None:
        """Check and inflate a span into the cache; into memory if that fails."""
        key, size_bytes = layer.key(number), layer.size_bytes(number)
        try:
            with self._cache.writing(key, size_bytes=size_bytes) as writer:
                for piece in _inflate(layer, number, data):
                    writer.write(piece)
        except StorageError as error:
            if size_bytes > MEMORY_BYTES:
                raise
            self._cache.complain("keeps no more spans, memory does", error)
            self._memory.put(key, b"".join(_inflate(layer, number, data)))
            with self._lock:
                self.counts.spans_in_memory += 1

    def _still_missing(self, layer: SpanLayer, run: Sequence[int]) -> list[list[int]]:
        """Group the spans of a run that no other mount has fetched meanwhile."""
        parts: list[list[int]] = []
        for number in run:
            if self._has(layer, number):
                with self._lock:
                    self._end(layer, number, "")
            elif parts and parts[-1][-1] == number - 1:
                parts[-1].append(number)
            else:
                parts.append([number])
        return parts

    @contextmanager
    def _locked(self, layer: SpanLayer, run: Sequence[int]) -> Iterator[None]:
        """Lock the spans against other mounts. Goes on without a lock if it takes too long, or there are none."""
        lock = None
        try:
            for _ in range(int(_LOCK_SECONDS / _POLL_SECONDS)):
                lock = self._cache.try_lock(layer.key(run[0]), len(run))
                if lock is not None:
                    break
                cancellable_sleep(_POLL_SECONDS)
        except OSError as error:
            self._cache.complain("has no locks, so two mounts may fetch the same span", error)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Cancel the fetches of the block after some seconds, or at `close`."""
        with cancel_after(seconds), self._closing.on_cancel(current_cancellation().cancel):
            current_cancellation().check()
            yield


def _joins(spans: Sequence[Span], run: Sequence[int], number: int) -> bool:
    return number == run[-1] + 1 and spans[number].end - spans[run[0]].start <= MAX_JOINED_BYTES


def _inflate(layer: SpanLayer, number: int, data: SpanBytes) -> Iterator[bytes]:
    """Check a span's digest and yield its content."""
    reader = SpanReader(layer.info, lambda _start, _end: data, name="zTOC")
    return reader.read_span(number)
