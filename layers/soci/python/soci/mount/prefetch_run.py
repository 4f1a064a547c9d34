"""Prefetch at the mount: the spans that the image's prefetch artifacts name, side by side, before anything is read.

As a lazy reader does it (formats.md 7), but with neighbours in one request. What is not there in time goes on while the
image is read already. Nothing of this can fail a mount: a span that is missing is fetched when it is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from itertools import chain, zip_longest

from soci.errors import SociError, SpanUnreadable
from soci.image.indexed import ImageLayer
from soci.index.prefetch import fetch_prefetch
from soci.mount.span_fetch import MAX_JOINED_BYTES
from soci.mount.span_layer import joined
from soci.places.ports import ImageSource
from soci.ztoc.model import Span

PREFETCH_SECONDS = 30.0
"""The time limit of the owner's reader."""

PREFETCH_AT_ONCE = 8
"""Requests at the same time."""

_LOG = logging.getLogger("soci.mount")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefetchResult:
    """What came of a prefetch when its time was over."""

    layers: int
    """Layers whose artifact could be read."""
    spans: int
    """Spans that the artifacts name."""
    late: int
    """Spans that are still on their way."""
    failed: int


FetchSpans = Callable[[int, int, int], None]
"""Brings some spans of a layer into the cache: its number, the first span and the last. Raises `SpanUnreadable`."""


class PrefetchRun:
    """Fetches spans in a pool. The first of each layer come first."""

    def __init__(self, fetch: FetchSpans, pool: Executor) -> None:
        self._fetch = fetch
        self._pool = pool
        self._lock = threading.Lock()
        self._left = 0
        self._failed = 0
        self._first_error = ""

    def run(
        self,
        source: ImageSource,
        layers: Sequence[tuple[ImageLayer, Sequence[Span] | None]],
        *,
        seconds: float = PREFETCH_SECONDS,
    ) -> PrefetchResult:
        """Fetch what the artifacts of the layers name; wait for it so long at most. Logs what fails, one line each."""
        asked = [number for number, (layer, spans) in enumerate(layers) if spans and layer.prefetch]
        named = list(self._pool.map(lambda number: _read(source, *layers[number]), asked))
        requests = [
            [
                (number, *group)
                for group in joined(layers[number][1] or (), found, limit_bytes=MAX_JOINED_BYTES)
            ]
            for number, found in zip(asked, named, strict=True)
        ]
        spans = self._left = sum(map(len, named))
        in_turn = (one for one in chain.from_iterable(zip_longest(*requests)) if one is not None)
        wait([self._pool.submit(self._fetch_one, *one) for one in in_turn], timeout=seconds)
        with self._lock:
            return PrefetchResult(
                layers=sum(map(bool, named)), spans=spans, late=self._left, failed=self._failed
            )

    def _fetch_one(self, layer: int, first: int, last: int) -> None:
        error = ""
        try:
            self._fetch(layer, first, last)
        except SpanUnreadable as failure:
            error = str(failure)
        count = last + 1 - first
        with self._lock:
            self._left -= count
            if error:
                self._failed += count
                self._first_error = self._first_error or error
            is_last = not self._left
        if is_last and self._failed:
            _LOG.warning("prefetch: %d spans failed, the first: %s", self._failed, self._first_error)


def _read(source: ImageSource, layer: ImageLayer, spans: Sequence[Span] | None) -> list[int]:
    """Return the spans that a layer's artifact names, each once, in its order."""
    if layer.prefetch is None:
        return []
    try:
        ranges = fetch_prefetch(source, layer.prefetch, span_count=len(spans or ()))
    except SociError as error:
        _LOG.warning("prefetch of layer %s is left out: %s", layer.descriptor.digest, error)
        return []
    return list(dict.fromkeys(chain.from_iterable(range(part.start, part.end + 1) for part in ranges)))
