"""Compress a tar to gzip while it streams.

    header   front, as small as can be                rest, at the level asked for   CRC-32, size
             deflate blocks, up to a full byte        deflate blocks                 of both

Both parts are one member. The rest does not refer back into the front.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from zlib_ng import zlib_ng

from soci.layer.inflate import GZIP_WINDOW_BITS, RAW_WINDOW_BITS
from soci.oci.digest import Digest

_SMALLEST = 9
"""The level of the front. Each start downloads it, so it is worth the time."""

_TRAILER = struct.Struct("<II")


class TarCompressor:
    """Iterates over the gzip bytes of a tar. `diff_id` is valid after the iteration.

    The gzip header has no name and no time, so the same tar gives the same bytes.
    """

    def __init__(
        self, tar_pieces: Iterable[bytes], *, level: int, front: Iterable[bytes] | None = None
    ) -> None:
        """Take the tar in pieces, and what stands before them if that is to be as small as possible."""
        self._pieces = tar_pieces
        self._level = level
        self._front = front
        self._tar_hash = hashlib.sha256()
        self._crc = 0
        self._size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        if self._front is None:
            whole = zlib_ng.compressobj(self._level, wbits=GZIP_WINDOW_BITS)
            yield from self._compressed(whole, self._pieces)
            yield whole.flush()
            return
        front = zlib_ng.compressobj(_SMALLEST, wbits=GZIP_WINDOW_BITS)
        yield from self._compressed(front, self._checked(self._front))
        yield front.flush(zlib_ng.Z_SYNC_FLUSH)
        rest = zlib_ng.compressobj(self._level, wbits=RAW_WINDOW_BITS)
        yield from self._compressed(rest, self._checked(self._pieces))
        yield rest.flush()
        yield _TRAILER.pack(self._crc, self._size_bytes & 0xFFFF_FFFF)

    @property
    def diff_id(self) -> Digest:
        """The digest of the uncompressed tar, which the image's config lists."""
        return Digest(algorithm="sha256", hex=self._tar_hash.hexdigest())

    def _compressed(self, compressor: zlib_ng._Compress, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._tar_hash.update(piece)
            compressed = compressor.compress(piece)
            if compressed:
                yield compressed

    def _checked(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass pieces on, and count them for the trailer."""
        for piece in pieces:
            self._crc = zlib_ng.crc32(piece, self._crc)
            self._size_bytes += len(piece)
            yield piece
