from __future__ import annotations

import gzip

import pytest
import zstandard

from soci.oci.compression import Compression, detect_compression


@pytest.mark.parametrize(
    ("layer", "compression"),
    [
        (gzip.compress(b"tar"), Compression.GZIP),
        (zstandard.compress(b"tar"), Compression.ZSTD),
        (b"etc/passwd", Compression.UNCOMPRESSED),
        (b"\x1f", Compression.UNCOMPRESSED),
        (b"\x28\xb5\x2f", Compression.UNCOMPRESSED),
        (b"", Compression.UNCOMPRESSED),
    ],
    ids=["gzip", "zstd", "a tar", "half a gzip magic", "part of a zstd magic", "nothing"],
)
def test_the_first_bytes_of_a_layer_tell_its_compression(layer, compression):
    assert detect_compression(layer) is compression
