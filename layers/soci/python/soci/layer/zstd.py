"""Decompress zstd layers in pieces of bounded size (RFC 8878).

No SOCI reader loads zstd lazily. We read such layers to list their files and to recompress them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, cast

from soci.errors import ZstdError

PIECE_BYTES = 1 << 20

MAX_WINDOW_BYTES = 128 << 20
"""zstd's default limit for decompression. A frame that needs more is refused."""


def decompress_zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all frames, in pieces of at most `PIECE_BYTES`.

    A stream that is cut short is no error here. The tar inside then ends too early.

    Raises:
        ZstdError: the stream is damaged, is not zstd or needs too large a window.
    """
    import zstandard  # noqa: PLC0415 - most runs meet no zstd layer and should start faster

    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    reader = decompressor.stream_reader(cast("IO[bytes]", _Readable(pieces)), read_across_frames=True)
    read_bytes = 0
    while True:
        try:
            piece = reader.read(PIECE_BYTES)
        except zstandard.ZstdError as error:
            raise ZstdError(
                f"zstd stream is damaged after byte {read_bytes} of its content: {error}"
            ) from None
        if not piece:
            return
        read_bytes += len(piece)
        yield piece


class _Readable:
    """An iterator as the file that zstandard reads."""

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
