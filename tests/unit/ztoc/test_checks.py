from __future__ import annotations

import pytest

from soci.errors import InvalidZtoc
from soci.reasons import Reason
from soci.ztoc.checks import check_ztoc
from tests.builders import gzip_header
from tests.unit.ztoc.official import gzip_ztoc, plain_ztoc, tar_entry

HEAD = gzip_header() + b"deflate data"
POINTS = [(10, 0, 0), (5000, 10_000, 3), (7000, 15_000, 0)]


def reason_of(ztoc: bytes, head: bytes = HEAD) -> tuple[Reason, str] | None:
    left_out = check_ztoc(ztoc, head=head)
    return None if left_out is None else (left_out.reason, left_out.detail)


# --- spans ----------------------------------------------------------------------------------------------------


def test_sound_spans_pass():
    assert reason_of(gzip_ztoc(POINTS)) is None
    assert reason_of(plain_ztoc(), head=b"") is None
    assert reason_of(plain_ztoc(layer=0, digests=0, compressed=0), head=b"") is None


@pytest.mark.parametrize(
    "fields",
    [{"extra": b"x" * 60_000}, {"name": b"n" * 511, "comment": b"c" * 511}, {"checksum": "right"}],
    ids=["extra field", "longest name and comment", "checksum"],
)
def test_a_header_with_any_field_that_go_reads_passes(fields):
    header = gzip_header(**fields)

    assert reason_of(gzip_ztoc([(len(header), 0, 0)]), head=header + b"data") is None


@pytest.mark.parametrize(
    ("points", "head"),
    [
        ([(11, 0, 0)], HEAD),
        ([(9, 0, 0)], HEAD),
        ([(11, 0, 1)], b"\x1f\x8c" + HEAD[2:]),
        ([(10, 5, 0)], HEAD),
        ([(10, 0, 0)], b""),
        ([(10 + 513, 0, 0)], gzip_header(name=b"n" * 512)),
        ([(12, 0, 0)], gzip_header(checksum="wrong")),
    ],
    ids=[
        "too late",
        "too early",
        "no header",
        "output before it",
        "no bytes",
        "name too long",
        "wrong checksum",
    ],
)
def test_the_first_span_must_follow_a_header_that_go_reads(points, head):
    ztoc = gzip_ztoc(points)

    start = points[0][0] - bool(points[0][2])
    assert reason_of(ztoc, head) == (
        Reason.UNREADABLE_SPANS,
        f"the first span begins at byte {start}, not after a gzip header",
    )


def test_a_first_checkpoint_within_a_byte_counts_from_that_byte():
    assert reason_of(gzip_ztoc([(11, 0, 3)])) is None


def test_a_second_checkpoint_without_output_is_an_empty_first_block():
    assert reason_of(gzip_ztoc([(10, 0, 0), (15, 0, 0), (500, 4000, 0)])) == (Reason.EMPTY_FIRST_BLOCK, "")


@pytest.mark.parametrize(
    "third",
    [(5000, 12_000, 0), (4999, 12_000, 0), (5001, 10_000, 0), (5001, 9_999, 0)],
    ids=["same byte", "backwards", "no output", "less output"],
)
def test_only_the_last_span_may_be_empty(third):
    ztoc = gzip_ztoc([(10, 0, 0), (5000, 10_000, 0), third, (7000, 15_000, 0)])

    assert reason_of(ztoc) == (Reason.UNREADABLE_SPANS, "span 1 is empty")


def test_the_last_span_may_be_empty():
    assert reason_of(gzip_ztoc(POINTS, compressed=7000, uncompressed=15_000)) is None


def test_two_spans_may_begin_within_the_same_byte():
    assert reason_of(gzip_ztoc([(10, 0, 0), (5000, 10_000, 5), (5000, 10_001, 1)])) is None


def test_counts_that_contradict_each_other_are_invalid():
    with pytest.raises(InvalidZtoc, match="2 span digests, but 3 checkpoints"):
        check_ztoc(gzip_ztoc(POINTS, digests=2), head=HEAD)


# --- the table of contents ------------------------------------------------------------------------------------


def files(*entries):
    return reason_of(gzip_ztoc(POINTS, entries))


def test_entries_in_order_pass():
    assert (
        files(
            tar_entry(b"a", offset=512, size=1),
            tar_entry(b"d/", offset=1536, type=b"5"),
            tar_entry(b"b", offset=2560, size=512),
            tar_entry(b"c", offset=3584),
        )
        is None
    )


@pytest.mark.parametrize(
    ("offset", "first_size"),
    [(1023, 0), (1024, 1), (1535, 512), (0, 0), (1024, 2**62)],
    ids=str,
)
def test_overlapping_entries_are_unreadable(offset, first_size):
    found = files(tar_entry(b"first", offset=512, size=first_size), tar_entry(b"second", offset=offset))

    assert found == (Reason.UNREADABLE_TOC, "entry second")


def test_the_first_entry_needs_room_for_its_header():
    assert files(tar_entry(b"first", offset=511)) == (Reason.UNREADABLE_TOC, "entry first")


def test_a_file_of_negative_size_is_unreadable():
    assert files(tar_entry(b"f", size=-1)) == (Reason.UNREADABLE_TOC, "entry f")


@pytest.mark.parametrize("type_", [b"1", b"2", b"3", b"4", b"5", b"6"])
@pytest.mark.parametrize("size", [1, 512, 513, -1])
def test_only_a_file_may_have_a_size(type_, size):
    found = files(tar_entry(b"a"), tar_entry(b"b", offset=1024, type=type_, link_name=b"a", size=size))

    assert found == (Reason.SIZE_ON_LINK, "entry b")


# --- hard links -----------------------------------------------------------------------------------------------


def links(*names: tuple[bytes, bytes | None]):
    """Check files and hard links in order. Each is (name, target)."""
    return files(
        *(
            tar_entry(
                name, offset=512 * (n + 1), type=b"0" if target is None else b"1", link_name=target or b""
            )
            for n, (name, target) in enumerate(names)
        )
    )


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (b"f", b"f"),
        (b"./f", b"f"),
        (b"f", b"./f"),
        (b"f", b"/f"),
        (b"/f", b"f"),
        (b"d/f", b"d//f"),
        (b"d/f", b"d/e/../f"),
        (b"f", b"../../f"),
        (b"d/", b"d"),
        (b"\xff", b"./\xff"),
    ],
)
def test_a_hard_link_finds_its_target_by_its_cleaned_path(name, target):
    assert links((name, None), (b"link", target)) is None


def test_a_hard_link_may_point_to_another():
    assert links((b"f", None), (b"one", b"f"), (b"two", b"one")) is None


@pytest.mark.parametrize(
    "names",
    [
        [(b"link", b"f")],
        [(b"link", b"f"), (b"f", None)],
        [(b"f", None), (b"link", b"F")],
        [(b"link", b"link")],
        [(b"f", None), (b"link", b"f"), (b"link", b"g")],
        [(b"f", None), (b"link", b"")],
        [(b"d/f", None), (b"link", b"f")],
        [(b"d/f", None), (b"link", b"./f")],
    ],
    ids=[
        "no target",
        "target behind",
        "other case",
        "itself",
        "one of two",
        "empty",
        "other folder",
        "relative",
    ],
)
def test_a_hard_link_must_follow_its_target(names):
    assert links(*names) == (Reason.HARD_LINK_TO_NOTHING, "entry link")


def test_a_symbolic_link_may_point_to_nothing():
    assert files(tar_entry(b"s", type=b"2", link_name=b"nowhere")) is None


def test_the_first_rule_that_is_broken_is_reported():
    found = files(
        tar_entry(b"one", type=b"1", link_name=b"nothing"),
        tar_entry(b"two", offset=1024, type=b"5", size=5),
    )

    assert found == (Reason.SIZE_ON_LINK, "entry two")


def test_names_in_details_are_escaped_and_shortened():
    assert files(tar_entry(b"\xff" + b"n" * 5000, offset=0)) == (
        Reason.UNREADABLE_TOC,
        "entry \\xff" + "n" * 255 + "...",
    )


def test_a_table_with_many_hard_links_passes():
    assert links((b"target", None), *((b"link%d" % n, b"./target") for n in range(2000))) is None
