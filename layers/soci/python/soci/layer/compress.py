"""Compress a tar to gzip while it streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from zlib_ng import zlib_ng

from soci.layer.inflate import GZIP_WINDOW_BITS
from soci.oci.digest import Digest


class TarCompressor:
    """Iterates over the gzip bytes of a tar. `diff_id` is valid after the iteration.

    The gzip header has no name and no time, so the same tar gives the same bytes.
    """

    def __init__(self, tar_pieces: Iterable[bytes], *, level: int) -> None:
        self._pieces = tar_pieces
        self._tar_hash = hashlib.sha256()
        self._compressor = zlib_ng.compressobj(level, wbits=GZIP_WINDOW_BITS)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._tar_hash.update(piece)
            compressed = self._compressor.compress(piece)
            if compressed:
                yield compressed
        yield self._compressor.flush()

    @property
    def diff_id(self) -> Digest:
        """The digest of the uncompressed tar, which the image's config lists."""
        return Digest(algorithm="sha256", hex=self._tar_hash.hexdigest())
