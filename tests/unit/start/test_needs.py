from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from soci.image.filesystem import FileSystem
from soci.start.needs import SpanNeed, StartNeeds, first_times, plan_needs
from soci.start.profile import FileRead, ReadRange, make_profile
from soci.ztoc.decode import decode_compression_info, decode_files
from soci.ztoc.model import Span
from tests.builders import Member, file, hardlink, index_layer, noise, symlink, tar_of, whiteout

SPAN = 65_536


def read(path: str, *ranges: tuple[int, int, int], size: int | None = None) -> FileRead:
    parts = tuple(ReadRange(start=start, end=end, first_ms=ms) for start, end, ms in ranges)
    times = [part.first_ms for part in parts] or [0]
    return FileRead(
        path=path.encode(), first_ms=min(times), last_ms=max(times), ranges=parts, size_bytes=size
    )


def needs_of(
    files: list[FileRead], *layers: list[Member], without_ztoc: tuple[int, ...] = ()
) -> tuple[StartNeeds, list[tuple[Span, ...] | None]]:
    ztocs = [index_layer(tar_of(*members), span_size_bytes=SPAN).ztoc for members in layers]
    spans = [
        None if number in without_ztoc else decode_compression_info(ztoc).spans
        for number, ztoc in enumerate(ztocs)
    ]
    tree = FileSystem.of([tuple(decode_files(ztoc)) for ztoc in ztocs])
    return plan_needs(make_profile(files), tree, spans), spans


def spans_of(needs: StartNeeds) -> list[tuple[int, int, int]]:
    return [(one.layer, one.span, one.first_ms) for one in needs.spans]


def test_spans_come_once_in_the_order_of_first_need() -> None:
    layer = [file("a", noise(3 * SPAN)), file("b", noise(100))]
    needs, _ = needs_of([read("/a", (2 * SPAN, 2 * SPAN + 9, 5), (0, 9, 8)), read("/b", (0, 9, 1))], layer)

    # 'a' begins at 512, so 'b' lies in span 3.
    assert spans_of(needs) == [(0, 3, 1), (0, 2, 5), (0, 0, 8)]


def test_a_range_that_ends_on_a_boundary_does_not_need_the_next_span() -> None:
    needs, spans = needs_of([read("/a", (0, SPAN - 512, 0))], [file("a", noise(2 * SPAN))])

    assert spans[0] is not None
    assert spans[0][0].uncompressed_end == SPAN
    assert spans_of(needs) == [(0, 0, 0)]


def test_a_file_that_was_read_whole_is_needed_whole_when_it_has_grown() -> None:
    files = [read("/a", (0, 100, 7), size=100), read("/b")]
    needs, _ = needs_of(files, [file("a", noise(SPAN)), file("b", noise(2 * SPAN))])

    assert [one.size_bytes for one in needs.files] == [2 * SPAN, SPAN]
    assert spans_of(needs) == [(0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 0, 7)]


def test_ranges_are_cut_to_what_the_file_has_now() -> None:
    needs, _ = needs_of(
        [read("/a", (0, 10, 0), (50, 200, 1), (300, 400, 2), size=500)], [file("a", noise(60))]
    )

    (found,) = needs.files
    assert [(part.start, part.end) for part in found.ranges] == [(0, 10), (50, 60)]
    assert found.size_bytes == 20


def test_overlapping_ranges_count_once() -> None:
    needs, _ = needs_of([read("/a", (0, 10, 0), (5, 20, 1), (7, 9, 2), size=90)], [file("a", noise(60))])

    assert needs.files[0].size_bytes == 20


def test_files_that_are_gone_or_are_no_files_are_missing() -> None:
    lower = [file("gone", b"x"), file("kept", b"x")]
    upper = [whiteout("gone"), symlink("link", "kept"), symlink("broken", "nothing")]
    files = [read(path) for path in ("/gone", "/kept", "/never", "/broken")]
    needs, _ = needs_of(files, lower, upper)

    assert needs.missing == (b"/broken", b"/gone", b"/never")
    assert [one.read.path for one in needs.files] == [b"/kept"]


def test_a_path_that_leads_through_links_now_is_followed() -> None:
    layer = [file("usr/lib/a", b"x" * 10), symlink("lib", "usr/lib"), hardlink("b", "usr/lib/a")]
    needs, _ = needs_of([read("/b"), read("/lib/a")], layer)

    assert [one.node.path for one in needs.files] == [b"/b", b"/usr/lib/a"]
    assert needs.spans == (SpanNeed(layer=0, span=0, first_ms=0),)


def test_the_topmost_layer_with_the_file_counts() -> None:
    needs, _ = needs_of([read("/a")], [file("a", b"old")], [file("a", b"new!")])

    assert needs.files[0].node.data_layer == 1
    assert spans_of(needs) == [(1, 0, 0)]


def test_a_layer_without_a_ztoc_needs_no_spans() -> None:
    needs, _ = needs_of([read("/a")], [file("a", b"x")], without_ztoc=(0,))

    assert needs.spans == ()
    assert needs.files[0].size_bytes == 1


def test_an_empty_file_needs_nothing() -> None:
    needs, _ = needs_of([read("/a", (0, 4, 0))], [file("a")])

    assert needs.spans == ()
    assert needs.files[0].ranges == ()


def test_each_number_has_the_earliest_of_its_times() -> None:
    parts = [(range(3, 6), 5), (range(10), 9), (range(4, 5), 1), (range(20, 20), 0), (range(8, 12), 9)]

    found = first_times(parts)

    assert found == {number: {3: 5, 4: 1, 5: 5}.get(number, 9) for number in range(12)}


@given(
    st.lists(
        st.tuples(st.builds(range, st.integers(0, 40), st.integers(0, 40)), st.integers(0, 9)), max_size=30
    )
)
def test_times_are_those_of_the_plain_way(parts: list[tuple[range, int]]) -> None:
    plain: dict[int, int] = {}
    for numbers, ms in parts:
        for number in numbers:
            plain[number] = min(ms, plain.get(number, ms))

    assert first_times(parts) == plain


def test_a_hundred_thousand_names_of_a_large_file_take_no_time() -> None:
    started = time.process_time()

    found = first_times((range(20_000), ms) for ms in range(100_000))

    assert set(found.values()) == {0}
    assert time.process_time() - started < 10  # one by one it would be minutes
