"""Read a layer through its zTOC: fetch a span, check its digest, inflate from its checkpoint.

    span     0             1                  2
    layer    [header][.....|.........|trailer][header][......|trailer]
    inflate          raw, resumed at each checkpoint │ gzip from here on

A span begins inside a member, so it is inflated as raw deflate data. If the member ends inside the span, an
inflater for gzip continues after the trailer. That inflater accepts the same headers as zlib and checks the
checksums of the further members. The zTOC may be hostile: a span is never inflated beyond its stated size.
"""

from __future__ import annotations

import ctypes
import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterator

from soci.errors import DigestMismatch, InvalidZtoc, SizeMismatch
from soci.layer.checkpoint import Checkpoint
from soci.layer.inflate import (
    BUF_ERROR,
    NO_FLUSH,
    OK,
    RAW_WINDOW_BITS,
    STREAM_END,
    Engine,
    Inflater,
    default_engine,
)
from soci.oci.compression import Compression
from soci.oci.digest import digest_of
from soci.ztoc.model import CompressionInfo, FileEntry, Span

SpanBytes = bytes | mmap.mmap
"""The compressed bytes of a span: in memory, or for a large span a file mapped with `ACCESS_COPY`."""

Fetch = Callable[[int, int], SpanBytes]
"""Reads bytes [start, end) of the compressed layer."""

PIECE_BYTES = 1 << 20
"""The largest piece of output."""

MAX_SPAN_BYTES = 1 << 30
"""The largest span, since spans are fetched whole. Most have some MiB. Old tools put all later members into one."""

_TRAILER_BYTES = 8


class SpanReader:
    """Reads the requested part of a layer through its spans.

    `fetch` reads a range of the layer, and `name` stands for the layer in messages. Memory holds one compressed
    span and one piece. The last span stays in memory with its inflater, so reading files in order fetches and
    inflates each span once.

    Raises (all methods, while their result is iterated):
        InvalidZtoc: a span has another size than its zTOC says, or cannot be inflated from its checkpoint.
        DigestMismatch: the fetched bytes have another digest than the span.
        SizeMismatch: the layer ends before the span.
    """

    def __init__(
        self, info: CompressionInfo, fetch: Fetch, *, name: str = "the layer", engine: Engine | None = None
    ) -> None:
        self._info = info
        self._fetch = fetch
        self._name = name
        self._engine = engine or default_engine()
        self._starts = [span.uncompressed_start for span in info.spans]
        self._number = -1
        self._stream: _GzipSpan | _PlainSpan | None = None

    def read_file(self, entry: FileEntry) -> Iterator[bytes]:
        """Yield the content of a regular file. Other entries have none; a hard link's is at its target."""
        if entry.type == "reg":
            yield from self.read_range(
                entry.uncompressed_offset, entry.uncompressed_offset + entry.uncompressed_size
            )

    def read_range(self, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes [start, end) of the uncompressed layer."""
        total = self._info.spans[-1].uncompressed_end if self._info.spans else 0
        if not 0 <= start <= end <= total:
            raise InvalidZtoc(f"{self._name}: bytes {start} to {end} lie outside its {total} bytes")
        while start < end:
            number = max(0, bisect_right(self._starts, start) - 1)
            piece = self._read(number, start, min(end, self._info.spans[number].uncompressed_end))
            start += len(piece)
            yield piece

    def read_span(self, number: int) -> Iterator[bytes]:
        """Check a span's digest and yield its content.

        A span must have exactly its stated size. After the last one, the tar's padding may follow.
        """
        span = self._info.spans[number]
        self._stream_at(number, span.uncompressed_start)
        start = span.uncompressed_start
        while start < span.uncompressed_end:
            piece = self._read(number, start, span.uncompressed_end)
            start += len(piece)
            yield piece
        is_last = number == len(self._info.spans) - 1
        if not is_last and self._stream_at(number, span.uncompressed_end).read(1):
            raise InvalidZtoc(f"{self._name}: span {number} has more bytes than its zTOC says")

    def _read(self, number: int, start: int, end: int) -> bytes:
        piece = self._stream_at(number, start).read(end - start)
        if not piece:
            raise InvalidZtoc(f"{self._name}: span {number} ends at byte {start}, want {end}")
        return piece

    def _stream_at(self, number: int, position: int) -> _GzipSpan | _PlainSpan:
        """Return the stream of a span, moved to a position of the uncompressed layer."""
        stream = self._stream
        if stream is None or number != self._number or position < stream.position:
            data = stream.data if stream is not None and number == self._number else self._fetch_span(number)
            self._stream = None  # frees the old span, even if the new one cannot be opened
            self._stream = stream = self._open(number, data)
            self._number = number
        while stream.position < position:
            if not stream.read(position - stream.position):
                raise InvalidZtoc(
                    f"{self._name}: span {number} ends at byte {stream.position}, want {position}"
                )
        return stream

    def _fetch_span(self, number: int) -> SpanBytes:
        span = self._info.spans[number]
        size = span.end - span.start
        if span.start < 0 or not 0 < size <= MAX_SPAN_BYTES:
            raise InvalidZtoc(f"{self._name}: span {number} cannot be bytes {span.start} to {span.end}")
        data = self._fetch(span.start, span.end)
        if len(data) != size:
            raise SizeMismatch(f"{self._name}: span {number} has {len(data)} bytes, want {size}")
        digest = digest_of(memoryview(data), span.digest.algorithm)
        if digest != span.digest:
            raise DigestMismatch(f"{self._name}: span {number} hashes to {digest}, want {span.digest}")
        return data

    def _open(self, number: int, data: SpanBytes) -> _GzipSpan | _PlainSpan:
        span = self._info.spans[number]
        if self._info.algorithm is Compression.UNCOMPRESSED:
            return _PlainSpan(span, data)
        name = f"{self._name}: span {number}"
        return _GzipSpan(span, data, self._info.checkpoints[number], engine=self._engine, name=name)


class _PlainSpan:
    """A span of an uncompressed layer, with the methods of `_GzipSpan`."""

    def __init__(self, span: Span, data: SpanBytes) -> None:
        self.data = data
        self.position = span.uncompressed_start
        self._start = span.uncompressed_start

    def read(self, room: int) -> bytes:
        at = self.position - self._start
        piece = self.data[at : at + min(room, PIECE_BYTES)]
        self.position += len(piece)
        return piece


class _GzipSpan:
    """A span while it is inflated. `position` is that of the next byte to read."""

    def __init__(
        self, span: Span, data: SpanBytes, checkpoint: Checkpoint, *, engine: Engine, name: str
    ) -> None:
        self.data = data
        self.position = span.uncompressed_start
        self._name = name
        self._engine = engine
        self._in_member = self._is_raw = True
        self._inflater = Inflater(engine, window_bits=RAW_WINDOW_BITS)
        # Two spans may share the first byte. The upper bits belong to the block that starts in it.
        bits = checkpoint.bits
        self._inflater.resume(bytes(checkpoint.window), bits=bits, value=data[0] >> (8 - bits) if bits else 0)
        taken = 1 if bits else 0
        self._inflater.stream.next_in = _address_of(data) + taken
        self._inflater.stream.avail_in = len(data) - taken

    def read(self, room: int) -> bytes:
        """Return the next bytes, at most `room` and at most a piece; empty at the end of the span."""
        buffer = ctypes.create_string_buffer(min(room, PIECE_BYTES))
        self._inflater.stream.next_out = ctypes.addressof(buffer)
        self._inflater.stream.avail_out = len(buffer)
        while self._inflater.stream.avail_out and (self._in_member or self._start_member()):
            status = self._inflater.inflate(NO_FLUSH)
            if status == STREAM_END:
                self._in_member = False
            elif status == BUF_ERROR:
                break
            elif status != OK:
                raise InvalidZtoc(
                    f"{self._name} is damaged after byte {self.position}: {self._inflater.message(status)}"
                )
        written = len(buffer) - self._inflater.stream.avail_out
        self.position += written
        return ctypes.string_at(buffer, written)

    def _start_member(self) -> bool:
        """Continue with the next gzip member. Returns False if there is none."""
        before = self._inflater.stream
        if self._is_raw:
            skipped = min(before.avail_in, _TRAILER_BYTES)
            self._is_raw = False
            self._inflater = Inflater(self._engine)
            stream = self._inflater.stream
            stream.next_in, stream.avail_in = before.next_in + skipped, before.avail_in - skipped
            stream.next_out, stream.avail_out = before.next_out, before.avail_out
        else:
            self._inflater.reset()
        self._in_member = self._inflater.stream.avail_in > 0
        return self._in_member


def _address_of(data: SpanBytes) -> int:
    if isinstance(data, mmap.mmap):
        return ctypes.addressof(ctypes.c_char.from_buffer(data))
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
