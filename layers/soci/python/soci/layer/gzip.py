"""gzip in, uncompressed chunks and checkpoints out (formats.md 3.2, 3.3).

A checkpoint is due at the first block boundary that lies more than a span behind the last checkpoint. Inflate
runs without a stop up to the end of the span, since its output room is bounded. Only from there on does it stop at
block boundaries. That takes a few calls per span, not one per deflate block, and gives the same checkpoints.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from soci.errors import GzipError
from soci.layer.checkpoint import Checkpoint
from soci.layer.chunks import CHUNK_BYTES, WINDOW_BYTES, Chunk, Ring
from soci.layer.inflate import (
    BLOCK,
    BLOCK_BOUNDARY,
    BUF_ERROR,
    LAST_BLOCK,
    NO_FLUSH,
    OK,
    STREAM_END,
    UNUSED_BITS,
    Engine,
    Inflater,
)

_MAX_BOUNDARIES_AT_START = 2
"""Checkpoints kept before the first output.

The format has one at each boundary there, but its readers refuse a second one. Two are enough to show that. If
all were kept, an empty block of five bytes would cost a window of 32 KiB.
"""


_FULL = WINDOW_BYTES + CHUNK_BYTES
_HALF_FULL = WINDOW_BYTES + CHUNK_BYTES // 2


class GzipReader:
    """Inflates a gzip layer of any number of members and collects its checkpoints.

    `feed(data)` yields full chunks, `finish()` yields the last one. The caller gives every chunk back with
    `ring.give_back`. `checkpoints` grows meanwhile. The caller may empty it.

    Raises:
        GzipError: the stream is not gzip, is damaged or cut short, or bytes that are no member follow.
    """

    def __init__(self, *, span_size_bytes: int, engine: Engine, ring: Ring) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.members = 0
        self.compressed_bytes = 0
        self.uncompressed_bytes = 0
        self._span_size_bytes = span_size_bytes
        self._inflater = Inflater(engine)
        self._ring = ring
        self._buffer = ring.take(bytes(WINDOW_BYTES))
        self._end = WINDOW_BYTES
        self._address = _address_of(self._buffer)
        self._turn_at = _FULL
        self._last_checkpoint_at = 0
        self._boundaries_at_start = 0
        self._in_member = False
        self._member_at = 0

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Inflate the next piece of the layer. Yields each full chunk, or half full ones at a checkpoint."""
        stream = self._inflater.stream
        stream.next_in = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        stream.avail_in = remaining = len(data)
        before = self.compressed_bytes
        while True:
            if self._end >= self._turn_at:
                yield self._turn_over()
            if not self._in_member:
                if not remaining:
                    break
                self._start_member()
            status = self._inflate_some()
            remaining = stream.avail_in
            self.compressed_bytes = before + len(data) - remaining
            if status == STREAM_END:
                self._in_member = False
                continue
            if status not in (OK, BUF_ERROR):
                raise self._error(status)
            # At a boundary whose bits were all read before, inflate makes no progress: a BUF_ERROR.
            if stream.data_type & (BLOCK_BOUNDARY | LAST_BLOCK) == BLOCK_BOUNDARY:
                self._note_boundary(stream.data_type & UNUSED_BITS)
            if not remaining and (status == BUF_ERROR or stream.avail_out):
                break

    def finish(self) -> Iterator[Chunk]:
        """Check that the last member is complete, then yield the last chunk."""
        if self._in_member or not self.members:
            raise GzipError(f"gzip stream is cut short after {self.compressed_bytes} bytes")
        if self._end > WINDOW_BYTES:
            yield self._chunk()

    def _inflate_some(self) -> int:
        stream = self._inflater.stream
        room = _FULL - self._end
        until_due = self._last_checkpoint_at + self._span_size_bytes - self.uncompressed_bytes
        flush = BLOCK
        if until_due > 0 and self.uncompressed_bytes:
            flush = NO_FLUSH
            room = min(room, until_due)
        stream.next_out = self._address + self._end
        stream.avail_out = room
        status = self._inflater.inflate(flush)
        written = room - stream.avail_out
        self._end += written
        self.uncompressed_bytes += written
        return status

    def _note_boundary(self, bits: int) -> None:
        behind = self.uncompressed_bytes - self._last_checkpoint_at
        if self.uncompressed_bytes and behind <= self._span_size_bytes:
            return
        if not self.uncompressed_bytes:
            self._boundaries_at_start += 1
            if self._boundaries_at_start > _MAX_BOUNDARIES_AT_START:
                return
        self._last_checkpoint_at = self.uncompressed_bytes
        if self._end > _HALF_FULL:
            self._turn_at = self._end  # inflate stops here anyway, which saves a stop elsewhere
        window = bytes(memoryview(self._buffer)[self._end - WINDOW_BYTES : self._end])
        self.checkpoints.append(Checkpoint(self.compressed_bytes, self.uncompressed_bytes, bits, window))

    def _start_member(self) -> None:
        if self.members:
            self._inflater.reset()
        self.members += 1
        self._in_member = True
        self._member_at = self.compressed_bytes

    def _error(self, status: int) -> GzipError:
        message = self._inflater.message(status)
        if message != "incorrect header check":
            return GzipError(f"gzip stream is damaged at byte {self.compressed_bytes}: {message}")
        if self.members == 1:
            return GzipError("layer is not gzip: it does not begin with a gzip header")
        return GzipError(
            f"gzip stream ends at byte {self._member_at}, but bytes that are no gzip member follow"
        )

    def _turn_over(self) -> Chunk:
        chunk = self._chunk()
        self._buffer = self._ring.take(memoryview(self._buffer)[self._end - WINDOW_BYTES : self._end])
        self._address = _address_of(self._buffer)
        self._end = WINDOW_BYTES
        self._turn_at = _FULL
        return chunk

    def _chunk(self) -> Chunk:
        return Chunk(self._buffer, self._end, self.uncompressed_bytes - (self._end - WINDOW_BYTES))


def _address_of(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
