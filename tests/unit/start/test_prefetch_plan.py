from __future__ import annotations

import pytest

from soci.image.filesystem import FileSystem
from soci.index.prefetch import SpanRange
from soci.oci.digest import digest_of
from soci.start.needs import SpanNeed, StartNeeds, plan_needs
from soci.start.prefetch_plan import BYTES_PER_REQUEST, plan_start_prefetch, with_headers
from soci.start.profile import FileRead, make_profile
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.model import Span
from tests.builders import Member, directory, file, index_layer, noise, tar_of

SPAN = 65_536
PLENTY = 1 << 40
MB = 1_000_000


def spans_of(*sizes: int) -> tuple[Span, ...]:
    """Spans with these compressed sizes."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return tuple(
        Span(end - size, end, 2 * (end - size), 2 * end, digest_of(b""))
        for size, end in zip(sizes, ends, strict=True)
    )


def needs(*spans: tuple[int, int]) -> StartNeeds:
    """Layer and span of each need, in order."""
    ordered = tuple(SpanNeed(layer=layer, span=span, first_ms=ms) for ms, (layer, span) in enumerate(spans))
    return StartNeeds(spans=ordered, files=(), missing=())


def pairs(ranges: tuple[SpanRange, ...]) -> list[tuple[int, int]]:
    return [(part.start, part.end) for part in ranges]


def test_neighbours_are_joined_and_ranges_stand_in_the_order_of_need() -> None:
    plan = plan_start_prefetch(
        needs((0, 7), (1, 0), (0, 2), (0, 8), (0, 1), (0, 5)), [spans_of(*[10] * 9), spans_of(10)], PLENTY
    )

    assert [pairs(ranges) for ranges in plan.ranges] == [[(7, 8), (1, 2), (5, 5)], [(0, 0)]]
    assert (plan.needed_bytes, plan.prefetched_bytes, plan.left_off_spans) == (60, 60, 0)


def test_the_budget_goes_to_what_is_needed_first() -> None:
    plan = plan_start_prefetch(needs((0, 3), (1, 1), (0, 0)), [spans_of(*[MB] * 4), spans_of(MB, MB)], 2 * MB)

    assert [pairs(ranges) for ranges in plan.ranges] == [[(3, 3)], [(1, 1)]]
    assert (plan.needed_bytes, plan.prefetched_bytes, plan.left_off_spans) == (3 * MB, 2 * MB, 1)


def test_a_span_that_does_not_fit_leaves_room_for_smaller_ones() -> None:
    plan = plan_start_prefetch(needs((0, 0), (0, 1)), [spans_of(10 * MB, MB)], 2 * MB)

    assert pairs(plan.ranges[0]) == [(1, 1)]
    assert plan.left_off_spans == 1


def test_a_budget_of_nothing_takes_nothing() -> None:
    plan = plan_start_prefetch(needs((0, 0)), [spans_of(10)], 0)

    assert plan.ranges == ((),)
    assert (plan.needed_bytes, plan.prefetched_bytes, plan.left_off_spans) == (10, 0, 1)


@pytest.mark.parametrize(
    ("budget_bytes", "requests"), [(3 * BYTES_PER_REQUEST, 3), (BYTES_PER_REQUEST - 1, 1)]
)
def test_small_spans_are_limited_by_their_round_trips(budget_bytes: int, requests: int) -> None:
    plan = plan_start_prefetch(
        needs(*[(0, span) for span in range(9)]), [spans_of(*[1000] * 9)], budget_bytes
    )

    assert pairs(plan.ranges[0]) == [(0, requests - 1)]
    assert plan.left_off_spans == 9 - requests


def test_named_spans_come_first_and_use_up_the_budget() -> None:
    named = [[SpanRange(start=4, end=5)]]
    plan = plan_start_prefetch(needs((0, 0), (0, 5), (0, 2)), [spans_of(*[MB] * 6)], 3 * MB, named=named)

    assert pairs(plan.ranges[0]) == [(4, 5), (0, 0)]
    assert (plan.needed_bytes, plan.prefetched_bytes, plan.left_off_spans) == (3 * MB, 2 * MB, 1)


def test_named_spans_beyond_the_budget_are_taken_all_the_same() -> None:
    plan = plan_start_prefetch(needs((0, 0)), [spans_of(*[MB] * 6)], MB, named=[[SpanRange(start=2, end=5)]])

    assert pairs(plan.ranges[0]) == [(2, 5)]


def test_named_spans_use_up_requests_too() -> None:
    budget, named = 3 * BYTES_PER_REQUEST, [[SpanRange(start=7, end=8)]]
    plan = plan_start_prefetch(needs((0, 0), (0, 2)), [spans_of(*[1000] * 9)], budget, named=named)

    assert pairs(plan.ranges[0]) == [(7, 8), (0, 0)]
    assert plan.left_off_spans == 1


class TestHeaders:
    def needed(self, path: str, *members: Member) -> list[tuple[int, int]]:
        ztoc = index_layer(tar_of(*members), span_size_bytes=SPAN).ztoc
        entries, spans = tuple(decode_files(ztoc)), decode_compression_info(ztoc).spans
        profile = make_profile([FileRead(path=path.encode(), first_ms=3, last_ms=3)])
        needs = plan_needs(profile, FileSystem.of([entries]), [spans])
        return [(one.span, one.first_ms) for one in with_headers(needs, [entries], [spans]).spans]

    def test_a_header_in_the_span_before_is_needed_too(self) -> None:
        # 'a' ends at byte SPAN - 512, where the header of 'b' begins; the content of 'b' begins in span 1.
        assert self.needed("/b", file("a", noise(SPAN - 1024)), file("b", b"x")) == [(0, 3), (1, 3)]

    def test_a_header_in_the_same_span_adds_nothing(self) -> None:
        assert self.needed("/b", file("a", noise(SPAN - 512)), file("b", b"x")) == [(1, 3)]

    def test_a_long_header_reaches_over_several_spans(self) -> None:
        comment = {"comment": "x" * 3 * SPAN}
        members = (file("a", noise(SPAN - 1024)), file("b", b"x", pax=comment))

        assert [span for span, _ in self.needed("/b", *members)] == [0, 1, 2, 3, 4]

    def test_entries_without_content_do_not_move_the_header(self) -> None:
        members = (file("a", noise(SPAN - 1024)), directory("d"), file("d/b", b"x"))

        # The header of 'd' is the last block of span 0, that of 'd/b' the first of span 1.
        assert self.needed("/d/b", *members) == [(1, 3)]

    def test_an_empty_file_needs_no_header(self) -> None:
        assert self.needed("/b", file("a", noise(SPAN)), file("b")) == []
