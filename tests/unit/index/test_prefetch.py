from __future__ import annotations

import json

import pytest

from soci.errors import InvalidDocument
from soci.image.filesystem import FileSystem
from soci.index.prefetch import (
    PREFETCH_LIMIT_BYTES,
    PrefetchPlan,
    SpanRange,
    encode_prefetch,
    join_spans,
    merge_ranges,
    parse_prefetch,
    plan_prefetch,
)
from soci.oci import media_types
from soci.ztoc.decode import decode_compression_info, decode_files
from tests.builders import (
    Member,
    directory,
    file,
    hardlink,
    index_layer,
    noise,
    opaque,
    symlink,
    tar_of,
    whiteout,
)

SPAN = 65_536
BIG = noise(SPAN)
"""With its header, a file of this size ends in the span behind the one in which it begins."""


def plan(
    *patterns: str, layers: list[tuple[Member, ...]], without_ztoc: tuple[int, ...] = ()
) -> PrefetchPlan:
    """Plan over plain tar layers, where span n begins at byte n * SPAN."""
    files, spans = [], []
    for number, members in enumerate(layers):
        ztoc = index_layer(tar_of(*members), span_size_bytes=SPAN).ztoc
        files.append(tuple(decode_files(ztoc)))
        spans.append(None if number in without_ztoc else decode_compression_info(ztoc).spans)
    return plan_prefetch(patterns, FileSystem.of(files), spans)


def found(*patterns: str, layers: list[tuple[Member, ...]], **options) -> list[list[tuple[int, int]]]:
    """The ranges per layer, when every pattern has to match."""
    result = plan(*patterns, layers=layers, **options)
    assert result.unmatched == ()
    return [[(part.start, part.end) for part in ranges] for ranges in result.ranges]


FOUR_FILES = (file("a", BIG), file("b", BIG), file("c", BIG), file("d", BIG))
"""Data from byte 512, 66,560, 132,608 and 198,656: spans 0-1, 1-2, 2-3 and 3-4."""


@pytest.mark.parametrize(
    ("path", "spans"), [("a", [(0, 1)]), ("b", [(1, 2)]), ("c", [(2, 3)]), ("d", [(3, 4)])]
)
def test_the_spans_that_hold_a_file_are_found(path, spans):
    assert found(path, layers=[FOUR_FILES]) == [spans]


def test_ranges_that_touch_or_overlap_are_joined():
    assert found("a", "c", layers=[FOUR_FILES]) == [[(0, 3)]]
    assert found("d", "a", "d", layers=[FOUR_FILES]) == [[(0, 1), (3, 4)]]


def test_an_empty_file_has_the_span_where_it_would_be():
    assert found("empty", layers=[(file("a", BIG), file("empty"), file("b", BIG))]) == [[(1, 1)]]


def test_a_file_that_ends_on_a_boundary_takes_one_span_more_as_with_the_owner():
    exact = (file("a", noise(SPAN - 512)), file("b", BIG))

    assert found("a", layers=[exact]) == [[(0, 1)]]


@pytest.mark.parametrize("stored", ["opt/b", "./opt/b", "/opt/b", "opt//b", "./opt/./b"])
@pytest.mark.parametrize("asked", ["/opt/b", "opt/b", "./opt/b", "/opt/../opt/b"])
def test_however_a_path_is_stored_and_asked_for_it_is_found(stored, asked):
    assert found(asked, layers=[(file(stored, b"x"),)]) == [[(0, 0)]]


def test_symbolic_links_are_followed_across_layers():
    lower = (directory("usr"), directory("usr/bin"), file("usr/bin/sh", BIG))
    upper = (symlink("bin", "usr/bin"), symlink("shell", "/bin/sh"))

    assert found("/bin/sh", layers=[lower, upper]) == [[(0, 1)], []]
    assert found("/shell", layers=[lower, upper]) == [[(0, 1)], []]


def test_a_hard_link_stands_for_the_entry_with_the_data():
    layer = (file("a", BIG), file("pad", BIG), hardlink("b", "a"))

    assert found("/b", layers=[layer]) == [[(0, 1)]]


@pytest.mark.parametrize(
    "link",
    [symlink("l", "nowhere"), symlink("l", "l"), symlink("l", "../../..")],
    ids=["broken", "circle", "root"],
)
def test_a_link_that_leads_to_no_file_matches_nothing(link):
    assert plan("/l", layers=[(link,)]).unmatched == ("/l",)


@pytest.mark.parametrize("without_ztoc", [(), (1,)], ids=["indexed", "not indexed"])
def test_a_file_that_an_upper_layer_deletes_is_not_fetched(without_ztoc):
    lower = (directory("d"), file("d/a", BIG), file("b", BIG))

    for upper in [(whiteout("d/a"),), (directory("d"), opaque("d")), (whiteout("d"),), (file("d", b"x"),)]:
        result = plan("/d/a", layers=[lower, upper], without_ztoc=without_ztoc)

        assert result == PrefetchPlan(ranges=((), ()), unmatched=("/d/a",))


def test_a_file_that_an_upper_layer_replaces_is_fetched_from_there():
    assert found("/a", layers=[FOUR_FILES, (file("pad", BIG), file("./a", BIG))]) == [[], [(1, 2)]]


def test_a_file_in_a_layer_without_ztoc_is_found_and_needs_no_fetch():
    assert found("/a", layers=[FOUR_FILES, (file("a", BIG),)], without_ztoc=(1,)) == [[], []]


TREE = (
    directory("app"),
    file("app/main.py", BIG),
    directory("app/lib"),
    file("app/lib/one.py", BIG),
    file("app/lib/two.so", BIG),
    directory("app/lib/deep"),
    file("app/lib/deep/three.py", BIG),
)
"""main.py in spans 0-1, one.py in 1-2, two.so in 2-3, three.py in 3-4."""


@pytest.mark.parametrize(
    ("pattern", "spans"),
    [
        ("/app/*.py", [(0, 1)]),
        ("/app/lib/*", [(1, 4)]),
        ("/app/lib/*.py", [(1, 2)]),
        ("/app/**/three.py", [(3, 4)]),
        ("**/*.py", [(0, 4)]),
        ("/app/lib/t??.so", [(2, 3)]),
        ("/app/lib/[a-o]*.py", [(1, 2)]),
        ("/app/lib/deep", [(3, 4)]),
        ("/app/lib/", [(1, 4)]),
        ("/", [(0, 4)]),
        ("/*/l*/deep", [(3, 4)]),
    ],
)
def test_globs_and_directories(pattern, spans):
    assert found(pattern, layers=[TREE]) == [spans]


def test_a_name_with_brackets_is_a_name_before_it_is_a_pattern():
    layer = (
        directory("pages"),
        file("pages/i.js", BIG),
        directory("pages/[id]"),
        file("pages/[id]/x.js", BIG),
        file("pages/[id].js", BIG),
    )

    assert found("/pages/[id].js", layers=[layer]) == [[(2, 3)]]
    assert found("/pages/[id]", layers=[layer]) == [[(1, 2)]]
    assert found("/pages/[ij].js", layers=[layer]) == [[(0, 1)]]


def test_a_directory_matches_its_files_but_follows_no_links_in_it():
    layer = (directory("d"), file("d/a", BIG), symlink("d/out", "/pad"), file("pad", BIG), file("more", BIG))

    assert found("/d", layers=[layer]) == [[(0, 1)]]
    assert found("/d/out", layers=[layer]) == [[(1, 2)]]


def test_names_that_are_no_unicode_can_be_asked_for():
    raw = b"\xff.bin".decode("utf-8", "surrogateescape")

    assert found(f"/{raw}", layers=[(file(raw, b"x"),)]) == [[(0, 0)]]


def test_patterns_that_match_no_file_are_reported_in_order():
    assert plan("/z", "a", "/none/*", layers=[FOUR_FILES]).unmatched == ("/z", "/none/*")


def test_a_directory_without_files_matches_nothing():
    assert plan("/d", layers=[(directory("d"),)]).unmatched == ("/d",)


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(3, 4), (0, 1)], [(0, 1), (3, 4)]),
        ([(0, 1), (2, 2)], [(0, 2)]),
        ([(0, 9), (1, 2)], [(0, 9)]),
        ([(5, 5), (5, 5), (4, 6)], [(4, 6)]),
        ([(0, 0), (2, 2), (1, 1)], [(0, 2)]),
    ],
    ids=["none", "apart", "adjacent", "inside", "equal", "all in a row"],
)
def test_merging(ranges, merged):
    parts = [SpanRange(start=start, end=end) for start, end in ranges]

    assert [(part.start, part.end) for part in merge_ranges(parts)] == merged


def test_the_artifact_is_written_as_the_owner_does():
    document = encode_prefetch([SpanRange(start=0, end=3), SpanRange(start=9, end=9)])

    assert document.data == (
        b'{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":3},{"start_span":9,"end_span":9}]}'
    )
    assert document.descriptor.media_type == media_types.PREFETCH


def test_an_encoded_artifact_is_parsed_to_the_same_ranges():
    ranges = (SpanRange(start=0, end=3), SpanRange(start=9, end=9))

    assert parse_prefetch(encode_prefetch(ranges).data, span_count=10) == ranges


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"version": "1.1", "prefetch_spans": [{"start_span": 0, "end_span": 0}]},
            "version '1.1', want '1.0'",
        ),
        ({"prefetch_spans": [{"start_span": 0, "end_span": 0}]}, "version '', want '1.0'"),
        ({"version": "1.0"}, "no spans"),
        ({"version": "1.0", "prefetch_spans": []}, "no spans"),
        ({"version": "1.0", "prefetch_spans": [{"start_span": 2, "end_span": 1}]}, "spans 2 to 1 of 3"),
        ({"version": "1.0", "prefetch_spans": [{"start_span": 0, "end_span": 3}]}, "spans 0 to 3 of 3"),
        ({"version": "1.0", "prefetch_spans": [{"start_span": -1, "end_span": 0}]}, "spans -1 to 0 of 3"),
        ({"version": "1.0", "prefetch_spans": [{"start_span": "0"}]}, "start_span"),
    ],
)
def test_an_artifact_that_the_reader_would_not_take_is_refused(document, message):
    with pytest.raises(InvalidDocument, match=message):
        parse_prefetch(json.dumps(document).encode(), span_count=3)


def test_an_artifact_has_a_size_limit():
    with pytest.raises(InvalidDocument, match="prefetch artifact"):
        parse_prefetch(b" " * (PREFETCH_LIMIT_BYTES + 1), span_count=3)


def test_ranges_that_name_a_span_again_and_again_are_refused_before_anyone_counts_them():
    spans = [{"start_span": 0, "end_span": 999_999}] * 2

    with pytest.raises(InvalidDocument, match="2000000 spans, want at most 1000000"):
        parse_prefetch(json.dumps({"version": "1.0", "prefetch_spans": spans}).encode(), span_count=1_000_000)


@pytest.mark.parametrize(
    ("spans", "joined"),
    [
        ([], []),
        ([3], [(3, 3)]),
        ([9, 0, 8, 1], [(8, 9), (0, 1)]),
        ([0, 2, 1], [(0, 2)]),
        ([5, 5, 1, 5], [(5, 5), (1, 1)]),
        ([7, 1, 3, 2, 8], [(7, 8), (1, 3)]),
    ],
)
def test_joined_spans_stand_where_the_first_of_them_stood(spans, joined):
    assert [(part.start, part.end) for part in join_spans(spans)] == joined
