from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soci.errors import InvalidDocument
from soci.oci.digest import digest_of
from soci.oci.platform import Platform
from soci.start import merge
from soci.start.merge import merge_profiles
from soci.start.profile import FileRead, ReadRange, StartProfile, encode_profile, make_profile, parse_profile
from soci.start.ranges import join_ranges, with_fewer_ranges

IMAGES = (digest_of(b"1"), digest_of(b"2"))
AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64", variant="v8")


def part(start: int, end: int, first_ms: int = 0) -> ReadRange:
    return ReadRange(start=start, end=end, first_ms=first_ms)


def read(path: str = "/a", *parts: ReadRange, **fields: Any) -> FileRead:
    times = [one.first_ms for one in parts] or [0]
    return FileRead(
        path=path.encode(), ranges=parts, **{"first_ms": min(times), "last_ms": max(times)} | fields
    )


def profile(*files: FileRead, **fields: Any) -> StartProfile:
    return make_profile(list(files), **fields)


def ranges_of(file: FileRead) -> list[tuple[int, int, int]]:
    return [(one.start, one.end, one.first_ms) for one in file.ranges]


@st.composite
def file_reads(draw: st.DrawFn) -> FileRead:
    starts = draw(st.lists(st.integers(0, 30), max_size=4))
    times = sorted(draw(st.lists(st.integers(0, 20), min_size=len(starts), max_size=len(starts))))
    ranges = [
        part(start, start + draw(st.integers(1, 10)), ms) for start, ms in zip(starts, times, strict=True)
    ]
    first = draw(st.integers(0, times[0] if times else 5))
    return FileRead(
        path=draw(st.sampled_from([b"/a", b"/b", b"/c"])),
        first_ms=first,
        last_ms=draw(st.integers(max([first, *times]), 30)),
        size_bytes=draw(st.none() | st.integers(0, 40)),
        ranges=tuple(ranges),
        layer=draw(st.sampled_from([None, *IMAGES])),
        spans=tuple(draw(st.lists(st.integers(0, 3), max_size=2))),
    )


profiles = st.builds(
    make_profile,
    st.lists(file_reads(), max_size=3, unique_by=lambda one: one.path),
    image=st.sampled_from([None, *IMAGES]),
    platform=st.sampled_from([None, ARM64, replace(ARM64, variant=""), replace(ARM64, os_version="1")]),
    program=st.sampled_from([None, b"/a", b"/b"]),
    starts=st.integers(1, 3),
)


@given(profiles, profiles, profiles)
def test_merging_gives_the_same_in_any_order_and_grouping(
    one: StartProfile, two: StartProfile, three: StartProfile
) -> None:
    together = encode_profile(merge_profiles([one, two, three]))

    for a, b, c in permutations((one, two, three)):
        assert encode_profile(merge_profiles([a, b, c])) == together
        assert encode_profile(merge_profiles([merge_profiles([a, b]), c])) == together
        assert encode_profile(merge_profiles([a, merge_profiles([b, c])])) == together
    assert encode_profile(parse_profile(together)) == together


@given(st.lists(st.builds(part, st.integers(0, 20), st.integers(21, 40), st.integers(0, 9)), max_size=6))
def test_joined_ranges_hold_each_byte_once_at_its_earliest_time(ranges: list[ReadRange]) -> None:
    earliest: dict[int, int] = {}
    for one in ranges:
        for at in range(one.start, one.end):
            earliest[at] = min(one.first_ms, earliest.get(at, one.first_ms))

    joined = join_ranges(ranges)

    held = [(at, one.first_ms) for one in joined for at in range(one.start, one.end)]
    assert sorted(held) == sorted(earliest.items())
    assert list(joined) == sorted(joined, key=lambda one: (one.first_ms, one.start))
    assert join_ranges(joined) == joined


@given(
    st.lists(
        st.builds(
            lambda a, n, t: part(a, a + n, t), st.integers(0, 10**6), st.integers(1, 99), st.integers(0, 9)
        ),
        min_size=1,
    ),
    st.integers(1, 5),
)
def test_fewer_ranges_hold_all_bytes_no_later(ranges: list[ReadRange], limit: int) -> None:
    fewer = with_fewer_ranges(join_ranges(ranges), limit)

    assert 1 <= len(fewer) <= limit
    assert all(
        any(one.start <= at < one.end and one.first_ms <= needed.first_ms for one in fewer)
        for needed in join_ranges(ranges)
        for at in (needed.start, needed.end - 1)
    )


def test_a_merged_file_has_the_bytes_of_all_starts_at_their_earliest_time() -> None:
    merged = merge_profiles(
        [
            profile(read("/a", part(0, 10, 5), part(20, 30, 6), size_bytes=99), read("/only", part(0, 1))),
            profile(read("/a", part(5, 25, 2), size_bytes=99, last_ms=50)),
        ]
    )

    only, both = merged.files
    assert (only.path, only.starts, both.starts, merged.starts) == (b"/only", 1, 2, 2)
    assert ranges_of(both) == [(5, 25, 2), (0, 5, 5), (25, 30, 6)]
    assert (both.first_ms, both.last_ms, both.size_bytes) == (2, 50, 99)


def test_a_file_that_one_start_read_whole_is_whole() -> None:
    merged = merge_profiles([profile(read("/a")), profile(read("/a", part(0, 10, 5), size_bytes=99))])

    (file,) = merged.files
    assert file.is_whole
    assert file.ranges == ()
    assert file.size_bytes == 99


def test_what_the_profiles_do_not_agree_on_is_left_out() -> None:
    one = profile(read("/a", layer=IMAGES[0], spans=(2,)), image=IMAGES[0], platform=AMD64, program=b"/bin/a")
    same = merge_profiles([one, replace(one, files=(read("/a", layer=IMAGES[0], spans=(1,)),))])
    next_build = merge_profiles([one, replace(one, image=IMAGES[1])])
    other = merge_profiles([one, profile(read("/a", layer=IMAGES[1], spans=(2,)))])

    assert (same.image, same.program, same.platform) == (IMAGES[0], b"/bin/a", AMD64)
    assert (same.files[0].layer, same.files[0].spans) == (IMAGES[0], (1, 2))
    assert (next_build.image, next_build.files[0].layer, next_build.files[0].spans) == (None, IMAGES[0], ())
    assert (other.image, other.program, other.files[0].layer, other.files[0].spans) == (None, None, None, ())
    assert other.platform == AMD64


def test_profiles_of_two_platforms_are_not_merged() -> None:
    with pytest.raises(InvalidDocument, match="profiles of linux/amd64 and linux/arm64: merge only"):
        merge_profiles([profile(platform=AMD64), profile(), profile(platform=ARM64)])


def test_a_merged_profile_keeps_the_limits_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MAX_FILES", 2)
    monkeypatch.setattr(merge, "MAX_RANGES", 3)
    apart = [part(number * 10, number * 10 + 1, number) for number in range(4)]

    with pytest.raises(InvalidDocument, match="3 files, the limit is 2"):
        merge_profiles([profile(read("/a"), read("/b")), profile(read("/c"))])
    with pytest.raises(InvalidDocument, match="4 ranges, the limit is 3"):
        merge_profiles([profile(read("/a", *apart[:2])), profile(read("/a", *apart[2:]))])
