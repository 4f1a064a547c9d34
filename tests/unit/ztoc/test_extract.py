from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from soci.errors import DigestMismatch, InvalidZtoc, SizeMismatch
from soci.layer.inflate import open_libz, open_zlib_ng
from soci.oci.digest import digest_of
from soci.ztoc.decode import decode_ztoc
from soci.ztoc.extract import MAX_SPAN_BYTES, PIECE_BYTES, SpanReader
from soci.ztoc.model import CompressionInfo, Span, Ztoc
from tests.builders import (
    directory,
    file,
    gzip_header,
    gzip_of,
    hardlink,
    index_layer,
    noise,
    symlink,
    tar_of,
    text,
)

SMALL_FILES = [file(f"f{n:04}", text(500 + n, str(n))) for n in range(400)]
TAR = tar_of(
    *SMALL_FILES, file("big", noise(150_000)), hardlink("h", "big"), symlink("s", "big"), directory("d")
)
LONG_NAME = gzip_header(extra=bytes(300), name=b"n" * 2000, comment=b"c", checksum="right")

LAYERS = {
    "plain": TAR,
    "usual": gzip_of(TAR),
    "fast": gzip_of(TAR, level=1),
    "stored": gzip_of(TAR, level=0),
    "fixed": gzip_of(TAR, strategy=zlib.Z_FIXED),
    "huffman-only": gzip_of(TAR, strategy=zlib.Z_HUFFMAN_ONLY),
    "flushed": gzip_of(TAR, flush_at=range(100, len(TAR), 4000)),
    "full-flushed": gzip_of(TAR, flush_at=range(100, len(TAR), 4000), flush_mode=zlib.Z_FULL_FLUSH),
    "tiny-blocks": gzip_of(TAR, memory_level=1),
    "two-members": gzip_of(TAR, members=2),
    "many-members": gzip_of(TAR, members=300),
    "empty-members": gzip_of(TAR[:200_000]) + 9 * gzip_of(b"") + gzip_of(TAR[200_000:]) + gzip_of(b""),
    "header-fields": gzip_of(TAR, header=gzip_header(extra=b"x", name=b"n", comment=b"c", checksum="right")),
    "long-later-headers": gzip_of(TAR[:99_000]) + gzip_of(TAR[99_000:], members=3, header=LONG_NAME),
}

each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


@dataclass
class Counted:
    """The fetch function of a layer. It records the requested ranges."""

    layer: bytes
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, start: int, end: int) -> bytes:
        self.ranges.append((start, end))
        return self.layer[start:end]


def ztoc_of(layer: bytes, span_size_bytes: int = 40_000) -> Ztoc:
    return decode_ztoc(index_layer(layer, span_size_bytes=span_size_bytes).ztoc)


def reader_of(layer: bytes, **options) -> tuple[SpanReader, Counted, Ztoc]:
    ztoc, fetch = ztoc_of(layer, **options), Counted(layer)
    return SpanReader(ztoc.compression, fetch), fetch, ztoc


def with_span(info: CompressionInfo, number: int, **changes: Any) -> CompressionInfo:
    spans = list(info.spans)
    spans[number] = spans[number]._replace(**changes)
    return replace(info, spans=tuple(spans))


@pytest.mark.parametrize("engine", [open_libz(), open_zlib_ng()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("span_size_bytes", [600, 5_000, 40_000, 4 << 20])
@each_layer
def test_the_spans_together_are_the_layer(layer, span_size_bytes, engine):
    info = ztoc_of(layer, span_size_bytes).compression
    reader = SpanReader(info, Counted(layer), engine=engine)

    pieces = [b"".join(reader.read_span(number)) for number in range(len(info.spans))]

    assert b"".join(pieces)[: len(TAR)] == TAR


@each_layer
def test_every_file_reads_back_in_any_order(layer):
    reader, _, ztoc = reader_of(layer)

    for entry in (*ztoc.files, *ztoc.files[::-13]):
        start = entry.uncompressed_offset
        assert b"".join(reader.read_file(entry)) == TAR[start : start + entry.uncompressed_size]


@each_layer
def test_reading_files_in_their_order_fetches_each_span_once(layer):
    reader, fetch, ztoc = reader_of(layer)

    for entry in ztoc.files:
        for _ in reader.read_file(entry):
            pass

    assert fetch.ranges == sorted(set(fetch.ranges))


def test_one_file_fetches_only_the_spans_that_hold_it():
    reader, fetch, ztoc = reader_of(LAYERS["usual"])
    entry = ztoc.files[200]

    assert b"".join(reader.read_file(entry)) == SMALL_FILES[200].data
    end = entry.uncompressed_offset + entry.uncompressed_size
    holding = [
        span
        for span in ztoc.compression.spans
        if span.uncompressed_start < end and span.uncompressed_end > entry.uncompressed_offset
    ]
    assert 1 <= len(holding) < len(ztoc.compression.spans)
    assert fetch.ranges == [(span.start, span.end) for span in holding]


def test_links_and_directories_have_no_content():
    reader, fetch, ztoc = reader_of(LAYERS["usual"])

    assert [b"".join(reader.read_file(entry)) for entry in ztoc.files[-3:]] == [b"", b"", b""]
    assert fetch.ranges == []


def test_two_readings_at_once_do_not_disturb_each_other():
    reader, _, ztoc = reader_of(LAYERS["stored"])
    big, small = ztoc.files[400], ztoc.files[0]

    pieces = []
    for piece in reader.read_file(big):
        pieces.append(piece)
        assert b"".join(reader.read_file(small)) == SMALL_FILES[0].data

    assert b"".join(pieces) == noise(150_000)


@pytest.mark.parametrize(
    "range_", [(-1, 5), (5, 4), (0, len(TAR) + 1)], ids=["before", "backwards", "behind"]
)
def test_a_range_outside_the_layer_is_refused(range_):
    reader, fetch, _ = reader_of(LAYERS["usual"])

    with pytest.raises(InvalidZtoc, match="lie outside its"):
        list(reader.read_range(*range_))
    assert fetch.ranges == []


def test_nothing_can_be_read_from_an_empty_layer():
    reader = SpanReader(replace(ztoc_of(TAR).compression, spans=()), Counted(b""))

    assert list(reader.read_range(0, 0)) == []
    with pytest.raises(InvalidZtoc, match="0 bytes"):
        list(reader.read_range(0, 1))


@each_layer
def test_a_changed_byte_of_the_layer_is_an_error(layer):
    info = ztoc_of(layer).compression
    at = info.spans[-1].start + 5
    changed = layer[:at] + bytes((layer[at] ^ 1,)) + layer[at + 1 :]
    reader = SpanReader(info, Counted(changed), name="layer abc")

    with pytest.raises(DigestMismatch, match=rf"layer abc: span {len(info.spans) - 1} hashes to"):
        list(reader.read_span(len(info.spans) - 1))


def test_a_layer_that_is_too_short_is_an_error():
    layer = LAYERS["usual"]
    reader = SpanReader(ztoc_of(layer).compression, Counted(layer[:-1]))

    with pytest.raises(SizeMismatch, match="want"):
        list(reader.read_span(len(ztoc_of(layer).compression.spans) - 1))


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, 10), (10, 10), (10, 5), (0, MAX_SPAN_BYTES + 1)],
    ids=["negative", "empty", "back", "huge"],
)
def test_a_span_at_an_impossible_position_is_not_fetched(start, end):
    layer = LAYERS["usual"]
    fetch = Counted(layer)
    reader = SpanReader(with_span(ztoc_of(layer).compression, 0, start=start, end=end), fetch)

    with pytest.raises(InvalidZtoc, match="cannot be bytes"):
        list(reader.read_span(0))
    assert fetch.ranges == []


@each_layer
def test_a_span_shorter_than_stated_is_an_error(layer):
    info = ztoc_of(layer).compression
    last = len(info.spans) - 1
    claim = with_span(info, last, uncompressed_end=1 << 62)
    reader = SpanReader(claim, Counted(layer))

    with pytest.raises(InvalidZtoc, match=f"span {last} ends at byte"):
        list(reader.read_span(last))
    with pytest.raises(InvalidZtoc, match=f"span {last} ends at byte"):
        list(reader.read_range((1 << 62) - 1, 1 << 62))


@each_layer
def test_a_span_longer_than_stated_is_an_error(layer):
    info = ztoc_of(layer).compression
    reader = SpanReader(
        with_span(info, 0, uncompressed_end=info.spans[0].uncompressed_end - 1), Counted(layer)
    )

    with pytest.raises(InvalidZtoc, match="span 0 has more"):
        list(reader.read_span(0))


def test_a_span_with_a_wrong_checkpoint_is_an_error():
    layer = LAYERS["usual"]
    info = ztoc_of(layer).compression
    wrong = tuple(point._replace(bits=(point.bits + 3) % 8) for point in info.checkpoints)
    reader = SpanReader(replace(info, checkpoints=wrong), Counted(layer))

    with pytest.raises(InvalidZtoc, match="span 1"):
        list(reader.read_span(1))


def test_bytes_after_a_member_must_be_a_member():
    layer = gzip_of(TAR)
    info = ztoc_of(layer).compression
    last = len(info.spans) - 1
    followed = layer + b"no gzip header, but long enough"
    span = info.spans[last]
    claim = span._replace(
        end=len(followed), uncompressed_end=1 << 30, digest=digest_of(followed[span.start :])
    )
    reader = SpanReader(replace(info, spans=(*info.spans[:-1], claim)), Counted(followed))

    with pytest.raises(InvalidZtoc, match="incorrect header check"):
        list(reader.read_span(last))


def test_a_member_inside_a_span_is_checked_by_its_own_checksum():
    layer = bytearray(LAYERS["many-members"])
    layer[-6] ^= 1
    info = ztoc_of(LAYERS["many-members"], 4 << 20).compression
    reader = SpanReader(
        with_span(info, 0, digest=digest_of(layer[info.spans[0].start :]), uncompressed_end=len(TAR) + 1),
        Counted(bytes(layer)),
    )

    with pytest.raises(InvalidZtoc, match="incorrect data check"):
        list(reader.read_span(0))


def test_a_bomb_is_inflated_only_to_the_stated_size():
    bomb = gzip_of(tar_of(file("zeros", bytes(64 << 20))))
    info = ztoc_of(bomb, 4 << 20).compression
    small = Span(info.spans[0].start, len(bomb), 0, 1000, digest_of(bomb[info.spans[0].start :]))
    reader = SpanReader(replace(info, spans=(small,)), Counted(bomb))

    tracemalloc.start()
    try:
        assert sum(map(len, reader.read_span(0))) == 1000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [gzip_of, bytes], ids=["gzip", "plain"])
def test_output_comes_in_pieces_of_bounded_size(compress):
    layer = compress(tar_of(file("a", bytes(5 << 20))))
    reader, _, ztoc = reader_of(layer, span_size_bytes=16 << 20)

    sizes = [len(piece) for piece in reader.read_file(ztoc.files[0])]

    assert sum(sizes) == 5 << 20
    assert max(sizes) == PIECE_BYTES


def test_the_last_span_may_lie_after_the_end_of_the_tar():
    layer = gzip_of(TAR + noise(300_000, "padding"))
    reader, _, ztoc = reader_of(layer)
    spans = ztoc.compression.spans

    assert spans[-1].uncompressed_start > spans[-1].uncompressed_end == len(TAR)
    assert list(reader.read_span(len(spans) - 1)) == []
    assert b"".join(reader.read_range(0, len(TAR))) == TAR
