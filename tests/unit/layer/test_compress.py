from __future__ import annotations

import gzip
import zlib

import pytest

from soci.layer.compress import TarCompressor
from soci.oci.digest import digest_of
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.extract import SpanReader
from tests.builders import file, index_layer, noise, tar_of, text

TAR = tar_of(file("a", text(300_000)), file("b", noise(100_000)), file("c", text(400_000, "c")))
PIECES = [TAR[at : at + 70_000] for at in range(0, len(TAR), 70_000)]


@pytest.mark.parametrize("count", [0, 1, 5, len(PIECES)])
def test_front_and_rest_are_one_gzip_member_and_one_tar(count):
    compressor = TarCompressor(PIECES[count:], level=1, front=PIECES[:count])
    layer = b"".join(compressor)

    inflater = zlib.decompressobj(31)
    assert inflater.decompress(layer) == TAR
    assert inflater.eof
    assert inflater.unused_data == b""
    assert compressor.diff_id == digest_of(TAR)


def test_the_front_is_smaller_than_at_the_level_of_the_rest():
    low = b"".join(TarCompressor(PIECES, level=1))
    assert len(b"".join(TarCompressor(PIECES[5:], level=1, front=PIECES[:5]))) < len(low)


def test_a_layer_with_a_front_is_read_through_its_ztoc():
    layer = b"".join(TarCompressor(PIECES[5:], level=6, front=PIECES[:5]))
    ztoc = decode_ztoc(index_layer(layer).ztoc)
    reader = SpanReader(ztoc.compression, lambda start, end: layer[start:end])
    assert len(ztoc.compression.spans) > 3
    assert b"".join(b"".join(reader.read_span(one)) for one in range(len(ztoc.compression.spans))) == TAR


def test_without_a_front_the_bytes_are_those_of_one_compressor():
    layer = b"".join(TarCompressor(PIECES, level=6))
    assert gzip.decompress(layer) == TAR
    assert layer[:10] == bytes.fromhex("1f8b0800000000000003")
