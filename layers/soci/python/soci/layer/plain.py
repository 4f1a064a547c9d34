"""Uncompressed layers, read with the same methods as in soci.layer.gzip."""

from __future__ import annotations

from collections.abc import Iterator

from soci.layer.chunks import CHUNK_BYTES, WINDOW_BYTES, Chunk, Ring


class PlainReader:
    """Cuts an uncompressed layer into chunks."""

    def __init__(self, *, ring: Ring) -> None:
        self.compressed_bytes = 0
        self._ring = ring
        self._buffer = ring.take(bytes(WINDOW_BYTES))
        self._end = WINDOW_BYTES

    @property
    def uncompressed_bytes(self) -> int:
        """The same number, since nothing is compressed."""
        return self.compressed_bytes

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take the next piece of the layer. Yields each full chunk."""
        rest = memoryview(data)
        while rest:
            if self._end == len(self._buffer):
                yield self._turn_over()
            piece = rest[: len(self._buffer) - self._end]
            self._buffer[self._end : self._end + len(piece)] = piece
            self._end += len(piece)
            self.compressed_bytes += len(piece)
            rest = rest[len(piece) :]

    def finish(self) -> Iterator[Chunk]:
        """Yield the last chunk."""
        if self._end > WINDOW_BYTES:
            yield Chunk(self._buffer, self._end, self.compressed_bytes - (self._end - WINDOW_BYTES))

    def _turn_over(self) -> Chunk:
        chunk = Chunk(self._buffer, self._end, self.compressed_bytes - CHUNK_BYTES)
        self._buffer = self._ring.take(memoryview(self._buffer)[-WINDOW_BYTES:])
        self._end = WINDOW_BYTES
        return chunk
