"""Memory of a mount: a bound on what is fetched at a time, and spans that the cache directory cannot take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from soci.mount.span_key import SpanKey
from soci.places.cancellation import current_cancellation


class KeptSpans:
    """The latest spans that the cache directory could not take."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._spans: OrderedDict[SpanKey, bytes] = OrderedDict()
        self._used_bytes = 0

    def get(self, key: SpanKey) -> bytes | None:
        """Return a span's content; None if it is not there."""
        if not self._spans:  # the usual case, without the lock
            return None
        with self._lock:
            if key in self._spans:
                self._spans.move_to_end(key)
            return self._spans.get(key)

    def put(self, key: SpanKey, content: bytes) -> None:
        """Keep a span, and drop those that were used least recently."""
        with self._lock:
            self._used_bytes += len(content) - len(self._spans.pop(key, b""))
            self._spans[key] = content
            while self._used_bytes > self._limit_bytes:
                self._used_bytes -= len(self._spans.popitem(last=False)[1])


class ByteBudget:
    """Bytes that may be in memory at a time. None asks for more than all of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._free_bytes = limit_bytes
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """Wait until so many bytes are free."""
        with self._changed:
            while self._free_bytes < size_bytes:
                current_cancellation().check()
                self._changed.wait(0.1)
            self._free_bytes -= size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += size_bytes
                self._changed.notify_all()
