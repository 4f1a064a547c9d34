"""Decompress a whole layer: gzip, zstd or plain."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from soci.layer.chunks import Chunk, Ring
from soci.layer.gzip import GzipReader
from soci.layer.inflate import default_engine
from soci.layer.plain import PlainReader
from soci.layer.zstd import decompress_zstd
from soci.oci.compression import Compression, detect_compression

_NO_CHECKPOINTS = 1 << 62
"""A span size that no layer reaches."""


def decompress_layer(pieces: Iterable[bytes]) -> Iterator[Chunk]:
    """Yield the uncompressed bytes of a layer. A chunk is valid until the next one.

    Raises:
        GzipError, ZstdError: the compressed stream is damaged.
    """
    pieces = iter(pieces)
    first = next(pieces, b"")
    pieces = itertools.chain((first,), pieces)
    compression = detect_compression(first)
    ring = Ring()
    reader: GzipReader | PlainReader
    if compression is Compression.GZIP:
        reader = GzipReader(span_size_bytes=_NO_CHECKPOINTS, engine=default_engine(), ring=ring)
    else:
        reader = PlainReader(ring=ring)
    for piece in decompress_zstd(pieces) if compression is Compression.ZSTD else pieces:
        for chunk in reader.feed(piece):
            yield chunk
            ring.give_back(chunk)
    yield from reader.finish()
