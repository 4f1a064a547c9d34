"""How layers are compressed, and their first bytes."""

from __future__ import annotations

from enum import StrEnum

GZIP_MAGIC = b"\x1f\x8b"
"""The first bytes of a gzip member (RFC 1952, 2.3.1)."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""The first bytes of a zstd frame (RFC 8878, 3.1.1)."""


class Compression(StrEnum):
    """How a layer is compressed. The values are the words of JSON messages and of the command line."""

    GZIP = "gzip"
    UNCOMPRESSED = "none"
    ZSTD = "zstd"


def detect_compression(start: bytes) -> Compression:
    """Return a layer's compression by its first bytes, at least four. The rest is taken for a tar."""
    if start.startswith(GZIP_MAGIC):
        return Compression.GZIP
    return Compression.ZSTD if start.startswith(ZSTD_MAGIC) else Compression.UNCOMPRESSED
