"""Deflate streams bit by bit, and a simple inflater that stops at every block to find checkpoints."""

from __future__ import annotations

import ctypes
import itertools
import struct
import zlib
from typing import NamedTuple

from soci.layer.checkpoint import Checkpoint
from soci.layer.chunks import WINDOW_BYTES, Ring
from soci.layer.gzip import GzipReader
from soci.layer.inflate import BLOCK, BLOCK_BOUNDARY, LAST_BLOCK, STREAM_END, Engine, Inflater, open_libz
from tests.builders import gzip_header

EMPTY_STORED = b"\x00\x00\x00\xff\xff"
"""An empty stored block that begins at a whole byte."""


def stored_block(data: bytes, *, last: bool = False) -> bytes:
    return struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data


def member(body: bytes, data: bytes, header: bytes | None = None) -> bytes:
    """A gzip member with a finished deflate stream."""
    return (header or gzip_header()) + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFF_FFFF)


class Inflated(NamedTuple):
    checkpoints: list[Checkpoint]
    output: bytes
    members: int


def inflate_in_pieces(
    layer: bytes, *, span_size_bytes: int, engine: Engine, piece_bytes: int = 1 << 20
) -> Inflated:
    """The output of GzipReader for a layer in pieces."""
    ring = Ring()
    reader = GzipReader(span_size_bytes=span_size_bytes, engine=engine, ring=ring)
    output = bytearray()
    pieces = (layer[at : at + piece_bytes] for at in range(0, len(layer), piece_bytes))
    for chunk in itertools.chain.from_iterable(itertools.chain(map(reader.feed, pieces), [reader.finish()])):
        assert chunk.offset == len(output)
        output += memoryview(chunk.buffer)[WINDOW_BYTES : chunk.end]
        ring.give_back(chunk)
    assert reader.compressed_bytes == len(layer)
    assert reader.uncompressed_bytes == len(output)
    return Inflated(reader.checkpoints, bytes(output), reader.members)


def checkpoints_by_stopping_at_each_block(layer: bytes, *, span_size_bytes: int) -> list[Checkpoint]:
    """The checkpoints of a sound layer, as docs/formats.md 3.2 defines them: the oracle for GzipReader."""
    inflater = Inflater(open_libz())
    stream, room = inflater.stream, ctypes.create_string_buffer(1 << 22)
    stream.next_in, stream.avail_in = ctypes.cast(ctypes.c_char_p(layer), ctypes.c_void_p).value, len(layer)
    found: list[Checkpoint] = []
    output = bytearray()
    while True:
        stream.next_out, stream.avail_out = ctypes.addressof(room), len(room)
        status = inflater.inflate(BLOCK)
        output += ctypes.string_at(room, len(room) - stream.avail_out)
        if status == STREAM_END:
            if not stream.avail_in:
                return found
            inflater.reset()
            continue
        assert status >= 0, inflater.message(status)
        is_boundary = stream.data_type & (BLOCK_BOUNDARY | LAST_BLOCK) == BLOCK_BOUNDARY
        if is_boundary and (not output or len(output) - found[-1].uncompressed > span_size_bytes):
            window = bytes(output[-WINDOW_BYTES:]).rjust(WINDOW_BYTES, b"\0")
            at = len(layer) - stream.avail_in
            found.append(Checkpoint(at, len(output), stream.data_type & 7, window))
