"""zstd layers, decompress_zstd in pieces of bounded size (RFC 8878).

No lazy reader supports zstd; these layers are read to look into them, and to make gzip copies of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, cast

from soci.errors import ZstdError

PIECE_BYTES = 1 << 20

MAX_WINDOW_BYTES = 128 << 20
"""zstd's own limit for decompression unless told otherwise: a frame that asks for more is refused."""


def decompress_zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all frames, in pieces of at most `PIECE_BYTES`, however far they expand.

    A stream that ends in the midst of a frame ends the content without an error: that shows in the tar inside it.

    Raises:
        ZstdError: the stream is no zstd, damaged, or needs too large a window.
    """
    import zstandard  # noqa: PLC0415 - most runs meet no zstd layer, and none should start slower for it

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    reader = decompressor.stream_reader(cast("IO[bytes]", _Readable(pieces)), read_across_frames=True)
    read_bytes = 0
    while True:
        try:
            piece = reader.read(PIECE_BYTES)
        except zstandard.ZstdError as error:
            raise ZstdError(
                f"zstd stream is damaged behind byte {read_bytes} of its content: {error}"
            ) from None
        if not piece:
            return
        read_bytes += len(piece)
        yield piece


class _Readable:
    """What zstandard reads from: an iterator in the shape of a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
