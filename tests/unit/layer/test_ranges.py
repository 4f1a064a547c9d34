from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from soci.layer.chunks import WINDOW_BYTES, Chunk
from soci.layer.decompress import decompress_layer
from soci.layer.ranges import leave_ranges, pick_ranges
from tests.builders import noise

DATA = noise(300_000)
CUTS = st.lists(st.integers(0, len(DATA)), min_size=2, max_size=12, unique=True).map(sorted)
PIECES = st.integers(1_000, 400_000)


def pieces_of(size: int) -> list[bytes]:
    return [DATA[at : at + size] for at in range(0, len(DATA), size)]


@given(CUTS, PIECES)
def test_ranges_are_picked_whole_and_in_order(cuts, size):
    ranges = list(zip(cuts[::2], cuts[1::2], strict=False))
    found: dict[int, bytes] = {}
    for number, piece in pick_ranges(decompress_layer(pieces_of(size)), ranges):
        found[number] = found.get(number, b"") + piece
    assert list(found.items()) == [(n, DATA[start:end]) for n, (start, end) in enumerate(ranges)]


@given(CUTS, PIECES)
def test_what_is_left_is_all_but_the_ranges(cuts, size):
    ranges = list(zip(cuts[::2], cuts[1::2], strict=False))
    edges = [0, *(at for one in ranges for at in one), len(DATA)]
    wanted = b"".join(DATA[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    assert b"".join(leave_ranges(decompress_layer(pieces_of(size)), ranges)) == wanted


def test_no_ranges_pick_nothing_and_leave_everything():
    assert list(pick_ranges(decompress_layer([DATA]), [])) == []
    assert b"".join(leave_ranges(decompress_layer([DATA]), [])) == DATA


def test_nothing_is_read_behind_the_last_range():
    def endless():
        yield DATA
        raise AssertionError("read too far")

    assert b"".join(piece for _, piece in pick_ranges(chunks(endless()), [(10, 20)])) == DATA[10:20]


def chunks(pieces):
    at = 0
    for piece in pieces:
        yield Chunk(bytearray(WINDOW_BYTES) + piece, WINDOW_BYTES + len(piece), at)
        at += len(piece)
