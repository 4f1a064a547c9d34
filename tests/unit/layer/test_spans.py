from __future__ import annotations

import hashlib

import pytest

from soci.layer.spans import Cut, SpanHasher
from tests.builders import noise

DATA = noise(1000)


def sha256(*ranges: tuple[int, int]) -> list[bytes]:
    return [hashlib.sha256(DATA[start:end]).digest() for start, end in ranges]


def digests(cuts: list[Cut], piece_bytes: int) -> list[bytes]:
    hasher = SpanHasher()
    for at in range(0, len(DATA), piece_bytes):
        end = at + piece_bytes
        within = [cut for cut in cuts if at < cut.compressed <= end or cut.compressed == at == 0]
        hasher.feed(memoryview(DATA)[at:end], within)
    return hasher.finish()


@pytest.mark.parametrize("piece_bytes", [1, 7, 10, 100, 1000])
def test_bytes_before_the_first_cut_are_in_no_span(piece_bytes):
    assert digests([Cut(10, shared=False)], piece_bytes) == sha256((10, 1000))


@pytest.mark.parametrize("piece_bytes", [1, 7, 10, 100, 1000])
def test_a_span_ends_where_the_next_begins(piece_bytes):
    cuts = [Cut(0, shared=False), Cut(300, shared=False), Cut(700, shared=False)]

    assert digests(cuts, piece_bytes) == sha256((0, 300), (300, 700), (700, 1000))


@pytest.mark.parametrize("piece_bytes", [1, 7, 10, 100, 300, 1000])
def test_two_spans_share_a_byte_that_a_cut_divides(piece_bytes):
    cuts = [Cut(10, shared=False), Cut(300, shared=True), Cut(301, shared=True), Cut(1000, shared=True)]

    assert digests(cuts, piece_bytes) == sha256((10, 300), (299, 301), (300, 1000), (999, 1000))


def test_a_cut_at_the_very_end_makes_an_empty_last_span():
    cuts = [Cut(10, shared=False), Cut(1000, shared=False)]

    assert digests(cuts, 100) == sha256((10, 1000), (1000, 1000))


def test_without_a_cut_there_is_no_span():
    assert digests([], 100) == []


def test_an_empty_piece_changes_nothing():
    hasher = SpanHasher()
    hasher.feed(DATA[:500], [Cut(10, shared=False)])
    hasher.feed(b"")
    hasher.feed(DATA[500:], [Cut(501, shared=True)])

    assert hasher.finish() == sha256((10, 501), (500, 1000))


def test_the_byte_before_an_empty_piece_is_still_shared():
    hasher = SpanHasher()
    hasher.feed(DATA[:500], [Cut(10, shared=False)])
    hasher.feed(b"")
    hasher.feed(DATA[500:], [Cut(500, shared=True)])

    assert hasher.finish() == sha256((10, 500), (499, 1000))
