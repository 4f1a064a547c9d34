from __future__ import annotations

import itertools

import pytest

from soci.layer.chunks import CHUNK_BYTES, WINDOW_BYTES, Ring
from soci.layer.plain import PlainReader
from tests.builders import noise

DATA = noise(1 << 20) * 9 + noise(12_345)


def chunks(data: bytes, piece_bytes: int) -> tuple[PlainReader, list[tuple[int, bytes, bytes]]]:
    """The offset, window and content of each chunk."""
    ring = Ring()
    reader = PlainReader(ring=ring)
    pieces = (data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes))
    found = []
    for chunk in itertools.chain.from_iterable(itertools.chain(map(reader.feed, pieces), [reader.finish()])):
        found.append(
            (chunk.offset, bytes(chunk.buffer[:WINDOW_BYTES]), bytes(chunk.buffer[WINDOW_BYTES : chunk.end]))
        )
        ring.give_back(chunk)
    return reader, found


@pytest.mark.parametrize("piece_bytes", [65_537, 1 << 20, len(DATA)])
def test_pieces_of_any_size_give_the_same_bytes(piece_bytes):
    reader, found = chunks(DATA, piece_bytes)

    assert b"".join(content for _, _, content in found) == DATA
    assert [offset for offset, _, _ in found] == [0, CHUNK_BYTES, 2 * CHUNK_BYTES]
    assert reader.compressed_bytes == reader.uncompressed_bytes == len(DATA)


def test_each_chunk_has_the_end_of_the_one_before_in_front():
    _, found = chunks(DATA, 1 << 20)

    assert [window for _, window, _ in found] == [
        bytes(WINDOW_BYTES),
        DATA[CHUNK_BYTES - WINDOW_BYTES : CHUNK_BYTES],
        DATA[2 * CHUNK_BYTES - WINDOW_BYTES : 2 * CHUNK_BYTES],
    ]


@pytest.mark.parametrize("extra_bytes", [-1, 0, 1])
def test_only_the_last_chunk_is_not_full(extra_bytes):
    data = DATA[: CHUNK_BYTES + extra_bytes]

    assert b"".join(content for _, _, content in chunks(data, 65_537)[1]) == data


def test_no_bytes_make_no_chunk():
    assert chunks(b"", 1)[1] == []
