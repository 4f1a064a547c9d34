from __future__ import annotations

import contextlib
import zlib

import pytest

from soci.errors import GzipError
from soci.layer.chunks import CHUNK_BYTES, WINDOW_BYTES
from soci.layer.inflate import open_libz, open_zlib_ng
from tests.builders import gzip_header, gzip_of, noise, text
from tests.unit.layer.deflate import (
    EMPTY_STORED,
    checkpoints_by_stopping_at_each_block,
    inflate_in_pieces,
    member,
    stored_block,
)

ENGINES = [open_zlib_ng(), open_libz()]
each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)

TEXT = text(300_000)
SPAN = 16_384
LAST_STORED = stored_block(b"", last=True)

FLAVOURS = {
    "level 1": gzip_of(TEXT, level=1),
    "level 9": gzip_of(TEXT, level=9),
    "stored": gzip_of(TEXT, level=0),
    "fixed codes": gzip_of(TEXT, strategy=zlib.Z_FIXED),
    "Huffman only": gzip_of(TEXT, strategy=zlib.Z_HUFFMAN_ONLY),
    "run lengths": gzip_of(TEXT, strategy=zlib.Z_RLE),
    "small blocks": gzip_of(TEXT, memory_level=1),
    "noise": gzip_of(noise(300_000)),
    "zeros in one block": gzip_of(bytes(3_000_000)),
    "sync flushes": gzip_of(TEXT, flush_at=range(1000, 300_000, 1000)),
    "full flushes": gzip_of(TEXT, flush_at=range(1000, 300_000, 7000), flush_mode=zlib.Z_FULL_FLUSH),
    "partial flushes": gzip_of(TEXT, flush_at=range(1000, 300_000, 777), flush_mode=zlib.Z_PARTIAL_FLUSH),
    "members": gzip_of(TEXT, members=7),
    "tiny members": gzip_of(TEXT[:3000], members=1500),
    "an empty member last": gzip_of(TEXT) + gzip_of(b""),
    "an empty member between": gzip_of(TEXT) + gzip_of(b"") + gzip_of(TEXT),
    "long header": gzip_of(TEXT, header=gzip_header(extra=b"x" * 40_000, name=b"n" * 500, checksum="right")),
    "no data": gzip_of(b""),
    "one byte": gzip_of(b"x"),
}


@each_engine
@pytest.mark.parametrize("piece_bytes", [977, 1 << 20])
@pytest.mark.parametrize("layer", FLAVOURS.values(), ids=FLAVOURS)
def test_every_kind_of_gzip_gives_its_data_and_checkpoints(layer, piece_bytes, engine):
    inflated = inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine, piece_bytes=piece_bytes)

    assert inflated.checkpoints == checkpoints_by_stopping_at_each_block(layer, span_size_bytes=SPAN)
    assert inflated.output == _gunzip(layer)


def _gunzip(layer: bytes) -> bytes:
    output = b""
    while layer:
        inflater = zlib.decompressobj(31)
        output += inflater.decompress(layer)
        layer = inflater.unused_data
    return output


def test_the_kinds_of_gzip_have_checkpoints_within_bytes_and_at_their_ends():
    bits = {
        c.bits
        for layer in FLAVOURS.values()
        for c in checkpoints_by_stopping_at_each_block(layer, span_size_bytes=SPAN)
    }

    assert bits == set(range(8))


@each_engine
@pytest.mark.parametrize(
    ("layer", "members"),
    [(gzip_of(TEXT), 1), (gzip_of(TEXT, members=5), 5), (gzip_of(b"") * 3, 3)],
    ids=["one", "five", "three empty ones"],
)
def test_members_are_counted(layer, members, engine):
    assert inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine).members == members


@each_engine
def test_a_checkpoint_lies_more_than_a_span_behind_the_last_one(engine):
    blocks = [stored_block(bytes(1000)) for _ in range(9)]
    layer = member(b"".join(blocks) + LAST_STORED, bytes(9000))

    at_most = inflate_in_pieces(layer, span_size_bytes=3000, engine=engine)
    less = inflate_in_pieces(layer, span_size_bytes=2999, engine=engine)

    assert [checkpoint.uncompressed for checkpoint in at_most.checkpoints] == [0, 4000, 8000]
    assert [checkpoint.uncompressed for checkpoint in less.checkpoints] == [0, 3000, 6000, 9000]


@each_engine
def test_the_end_of_a_member_is_no_checkpoint_but_the_header_after_it_is(engine):
    first, second = gzip_of(noise(1000)), gzip_of(noise(1000, "second"))

    inflated = inflate_in_pieces(first + second, span_size_bytes=500, engine=engine)

    positions = [(checkpoint.compressed, checkpoint.uncompressed) for checkpoint in inflated.checkpoints]
    assert positions == [(10, 0), (len(first) + 10, 1000)]


@each_engine
def test_a_window_holds_zeros_where_there_is_no_output_yet(engine):
    layer = member(stored_block(b"abc") + stored_block(b"def", last=True), b"abcdef")

    first, second = inflate_in_pieces(layer, span_size_bytes=1, engine=engine).checkpoints

    assert first.window == bytes(WINDOW_BYTES)
    assert second.window == bytes(WINDOW_BYTES - 3) + b"abc"


@each_engine
@pytest.mark.parametrize("extra_bytes", [-1, 0, 1, WINDOW_BYTES])
def test_output_larger_than_a_buffer_joins_without_gaps(extra_bytes, engine):
    data = noise(1 << 20) * 4 + noise(WINDOW_BYTES + 1, "more")
    data = data[: CHUNK_BYTES + extra_bytes]

    inflated = inflate_in_pieces(gzip_of(data, level=1), span_size_bytes=1 << 20, engine=engine)

    assert inflated.output == data
    assert all(
        checkpoint.window == data[checkpoint.uncompressed - WINDOW_BYTES : checkpoint.uncompressed]
        for checkpoint in inflated.checkpoints[1:]
    )


# --- empty blocks before any data -----------------------------------------------------------------------------


@each_engine
@pytest.mark.parametrize(
    "layer",
    [
        gzip_of(TEXT, flush_at=[0]),
        member(EMPTY_STORED + stored_block(b"abc", last=True), b"abc"),
        gzip_of(b"") + gzip_of(TEXT),
    ],
    ids=["flushed at once", "empty stored block", "empty first member"],
)
def test_an_empty_first_block_gives_a_second_checkpoint_without_output(layer, engine):
    checkpoints = inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine).checkpoints

    assert [checkpoint.uncompressed for checkpoint in checkpoints[:2]] == [0, 0]


@each_engine
def test_empty_blocks_cost_at_most_two_windows(engine):
    layer = member(EMPTY_STORED * 5000 + stored_block(b"abc", last=True), b"abc")

    inflated = inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine)

    assert [checkpoint.compressed for checkpoint in inflated.checkpoints] == [10, 15]
    assert inflated.output == b"abc"


@each_engine
def test_empty_blocks_after_data_give_no_checkpoints(engine):
    layer = member(stored_block(b"abc") + EMPTY_STORED * 50 + stored_block(b"def", last=True), b"abcdef")

    checkpoints = inflate_in_pieces(layer, span_size_bytes=1, engine=engine).checkpoints

    assert [checkpoint.uncompressed for checkpoint in checkpoints] == [0, 3]


# --- damage ---------------------------------------------------------------------------------------------------

WHOLE = gzip_of(TEXT)


@each_engine
@pytest.mark.parametrize("length", [0, 1, 9, 10, 1000, len(WHOLE) - 9, len(WHOLE) - 8, len(WHOLE) - 1])
def test_a_stream_that_is_cut_short_is_damaged(length, engine):
    with pytest.raises(GzipError, match=f"gzip stream is cut short after {length} bytes"):
        inflate_in_pieces(WHOLE[:length], span_size_bytes=SPAN, engine=engine)


@each_engine
def test_a_second_member_that_is_cut_short_is_damaged(engine):
    layer = WHOLE + WHOLE[:500]

    with pytest.raises(GzipError, match=f"cut short after {len(layer)} bytes"):
        inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine)


@each_engine
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (WHOLE[:-8] + bytes(4) + WHOLE[-4:], "incorrect data check"),
        (WHOLE[:-4] + bytes(4), "incorrect length check"),
        (b"\x1f\x8b\x09" + WHOLE[3:], "unknown compression method"),
        (b"\x1f\x8b\x08\x20" + WHOLE[4:], "unknown header flags set"),
        (gzip_of(b"x", header=gzip_header(checksum="wrong")), "header crc mismatch"),
        (gzip_header() + b"\x07", "invalid block type"),
        (member(b"\x01\x01\x00\x00\x00x", b"x"), "invalid stored block lengths"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_reported_with_zlibs_message_and_its_position(layer, message, engine):
    with pytest.raises(GzipError, match=rf"gzip stream is damaged at byte \d+: {message}"):
        inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine)


@each_engine
@pytest.mark.parametrize(
    "layer",
    [b"plain text", zlib.compress(TEXT), bytes(512), b"\x1f\x8c" + WHOLE[2:]],
    ids=["text", "zlib", "zeros", "magic"],
)
def test_data_without_a_gzip_header_is_not_gzip(layer, engine):
    with pytest.raises(GzipError, match="layer is not gzip"):
        inflate_in_pieces(layer, span_size_bytes=SPAN, engine=engine)


@each_engine
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
@pytest.mark.parametrize(
    "behind", [bytes(512), b"garbage", zlib.compress(b"x")], ids=["zeros", "garbage", "zlib"]
)
def test_only_a_member_may_follow_a_member(behind, piece_bytes, engine):
    with pytest.raises(
        GzipError, match=f"ends at byte {len(WHOLE)}, but bytes that are no gzip member follow"
    ):
        inflate_in_pieces(WHOLE + behind, span_size_bytes=SPAN, engine=engine, piece_bytes=piece_bytes)


@each_engine
def test_a_flipped_bit_is_found_or_changes_no_data(engine):
    data = text(3000)
    layer = gzip_of(data)
    undetected = []
    for at in range(10, len(layer)):
        damaged = bytearray(layer)
        damaged[at] ^= 1 << at % 8
        with contextlib.suppress(GzipError):
            undetected.append(inflate_in_pieces(bytes(damaged), span_size_bytes=SPAN, engine=engine).output)

    assert len(undetected) < 5, "only bits that pad the last block, or a copy from elsewhere, can go unseen"
    assert set(undetected) <= {data}
