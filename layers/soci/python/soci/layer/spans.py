"""Digests of spans. A lazy reader checks a ranged read by them (formats.md 4).

A span of a gzip layer begins at a checkpoint. If the checkpoint lies within a byte, both spans need that byte: the
span before ends with it and the span after starts with it. The gzip header stands before the first checkpoint and
belongs to no span. Spans of an uncompressed layer begin at multiples of their size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple


class Cut(NamedTuple):
    """The start of a span: after `compressed` bytes, or one byte earlier if that byte is `shared`."""

    compressed: int
    shared: bool


class SpanHasher:
    """Hashes the spans of a layer: call `feed(data, cuts)` with the cuts in the data, then `finish`."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        """SHA-256 of each finished span."""
        self._span: hashlib._Hash | None = None
        self._fed_bytes = 0
        self._last_byte = b""

    def feed(self, data: bytes | memoryview, cuts: Sequence[Cut] = ()) -> None:
        """Take the next bytes of the layer. Each cut lies within them or at their end; the first may be 0."""
        at = 0
        for cut in cuts:
            end = cut.compressed - self._fed_bytes
            self._update(data[at:end])
            self._close()
            self._span = hashlib.sha256()
            if cut.shared:
                self._update(data[end - 1 : end] if end else self._last_byte)
            at = end
        self._update(data[at:])
        self._fed_bytes += len(data)
        self._last_byte = bytes(data[-1:]) or self._last_byte

    def finish(self) -> list[bytes]:
        """Close the last span, which includes the trailer, and return all digests."""
        self._close()
        return self.digests

    def _update(self, data: bytes | memoryview) -> None:
        if self._span is not None:
            self._span.update(data)

    def _close(self) -> None:
        if self._span is not None:
            self.digests.append(self._span.digest())
