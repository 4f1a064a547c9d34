from __future__ import annotations

import gzip

import pytest
import zstandard

from soci.errors import GzipError, ZstdError
from soci.layer.chunks import CHUNK_BYTES
from soci.layer.decompress import decompress_layer
from tests.builders import noise

CONTENT = noise(CHUNK_BYTES + 100_000) * 2
LAYERS = {
    "gzip": gzip.compress(CONTENT, 1),
    "two gzip members": gzip.compress(CONTENT[:1000], 1) + gzip.compress(CONTENT[1000:], 1),
    "zstd": zstandard.compress(CONTENT),
    "plain": CONTENT,
}


@pytest.mark.parametrize("piece_bytes", [100_000, 1 << 30])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layer_of_any_compression_gives_its_content_in_order(layer, piece_bytes):
    pieces = (layer[at : at + piece_bytes] for at in range(0, len(layer), piece_bytes))
    content = bytearray()

    for chunk in decompress_layer(pieces):
        assert chunk.offset == len(content)
        content += chunk.data

    assert content == CONTENT


@pytest.mark.parametrize(
    ("layer", "error"),
    [(LAYERS["gzip"][:-1], GzipError), (LAYERS["zstd"][:8] + b"\xff" * 1000, ZstdError)],
    ids=["gzip cut short", "zstd damaged"],
)
def test_a_damaged_layer_is_an_error(layer, error):
    with pytest.raises(error):
        list(decompress_layer([layer]))


def test_no_bytes_are_a_layer_without_content():
    assert list(decompress_layer([])) == []
