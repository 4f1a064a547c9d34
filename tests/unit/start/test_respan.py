from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from soci.start.profile import make_profile
from soci.start.respan import CHECKPOINT_BYTES, with_span_size, with_start_first
from soci.ztoc.reorder import Reordering, Segment
from tests.builders import file, noise
from tests.unit.start.starts import SPAN, read, start_of

LAYER = [file(name, noise(2 * SPAN - 512, name)) for name in "abcdefgh"]
"""Each file has two spans of its own, with its header."""


def start(*reads, without_ztoc=()):
    return start_of(make_profile(list(reads)), LAYER, without_ztoc=without_ztoc)


def test_spans_of_the_same_size_need_the_same():
    made = start(read("/a", (0, 9, 5)), read("/h", (SPAN, SPAN + 9, 3)))

    (load,) = with_span_size(made.layers, made.loads, made.needs, SPAN)

    assert load == made.loads[0]


def test_larger_spans_are_fewer_and_smaller_spans_hold_less():
    made = start(read("/a", (0, 9, 5)), read("/b", (0, 9, 6)), read("/h", (0, 9, 3)))

    (large,) = with_span_size(made.layers, made.loads, made.needs, 4 * SPAN)
    (small,) = with_span_size(made.layers, made.loads, made.needs, SPAN // 4)

    assert [span.number for span in made.loads[0].needed] == [14, 0, 2]
    assert [span.number for span in large.needed] == [3, 0]
    assert [span.uncompressed_bytes for span in small.needed] == [SPAN // 4] * 3
    assert large.needed_bytes == 8 * SPAN
    assert small.needed_bytes == 3 * SPAN // 4
    assert large.ztoc_bytes == made.loads[0].ztoc_bytes  # an uncompressed layer has no checkpoints


def test_fewer_spans_of_a_gzip_layer_make_a_smaller_ztoc():
    made = start_of(make_profile([read("/a", (0, 9, 5))]), LAYER, gzip=True)

    (load,) = with_span_size(made.layers, made.loads, made.needs, 4 * SPAN)

    spans = len(made.layers[0].spans or ())
    assert (made.loads[0].ztoc_bytes or 0) - (load.ztoc_bytes or 0) == (spans - 5) * CHECKPOINT_BYTES
    assert load.needed_bytes == pytest.approx(4 * SPAN, rel=0.01)


def start_first(made):
    return with_start_first(made.layers, made.loads, made.needs, SPAN, made.fronts)


def test_with_its_files_first_a_layer_needs_its_front_in_the_order_of_need():
    layer = [file(f"{n}", noise(SPAN if n % 2 else 30_000, str(n))) for n in range(20)]
    made = start_of(make_profile([read(f"/{n}", first_ms=100 - n) for n in range(0, 20, 2)]), layer)

    (load,) = start_first(made)

    # Ten files of 30,000 bytes with their headers and padding.
    assert [span.number for span in load.needed] == [0, 1, 2, 3, 4]
    assert len(made.loads[0].needed) >= 10
    assert load.needed_bytes == pytest.approx(5 * SPAN, abs=5)


def test_small_files_that_lie_apart_become_one_span():
    layer = [file(f"{n}", noise(SPAN if n % 2 else 100, str(n))) for n in range(20)]
    made = start_of(make_profile([read(f"/{n}", first_ms=n) for n in range(0, 20, 2)]), layer)

    (load,) = start_first(made)

    assert len(made.loads[0].needed) >= 9
    assert [span.number for span in load.needed] == [0]
    assert load.needed[0].uncompressed_bytes == SPAN


def test_a_file_is_needed_where_the_new_order_has_it():
    layer = [file("a", noise(4 * SPAN - 512)), file("b", noise(SPAN - 512)), file("c", noise(SPAN - 512))]
    made = start_of(make_profile([read("/c", first_ms=1), read("/a", (0, 9, 50), first_ms=50)]), layer)
    ends = (0, 4 * SPAN, 5 * SPAN, 6 * SPAN)
    order = Reordering(
        order=(2, 1, 0), segments=tuple(Segment(*pair) for pair in pairwise(ends)), moved=1, left=1
    )

    (load,) = with_start_first(made.layers, made.loads, made.needs, SPAN, [order])

    # c, b, a: the beginning of 'a' is in the third span.
    assert [span.number for span in load.needed] == [0, 2]


def test_layers_that_are_not_worth_it_and_layers_without_a_ztoc_stay_as_they_are():
    together = start(read("/a"), read("/b"))
    without = start(read("/a"), without_ztoc=(0,))
    unread = start(read("/nowhere"))

    for made in (together, without, unread):
        assert start_first(made) == made.loads
    assert with_span_size(without.layers, without.loads, without.needs, 4 * SPAN) == without.loads


def test_a_layer_of_a_size_that_cannot_be_stays_as_it_is():
    made = start(read("/a"))
    huge = tuple(replace(one, uncompressed_bytes=1 << 62) for one in made.layers)

    assert with_span_size(huge, made.loads, made.needs, 1 << 20) == made.loads
    assert with_start_first(huge, made.loads, made.needs, SPAN, [plan_front()]) == made.loads


def plan_front():
    """An order that moves something."""
    return Reordering(order=(0,), segments=(Segment(0, 1 << 62),), moved=1, left=0)
