from __future__ import annotations

import pytest

from soci.errors import InvalidRequest
from soci.start import gathered
from soci.start.gathered import GatheredReads, joined_path
from soci.start.profile import FileRead
from soci.start.recording import Clock

MS = 1_000_000


def ranges_of(file: FileRead) -> list[tuple[int, int, int]]:
    return [(one.start, one.end, one.first_ms) for one in file.ranges]


def test_times_count_from_the_first_read_that_is_kept() -> None:
    reads = GatheredReads()
    reads.add(b"/of/the/host", 1000 * MS, 0, 10)
    reads.add(b"/b", 1500 * MS, 0, 10)
    reads.add(b"/a", 1700 * MS, 5, 15)
    reads.add(b"/b", 1900 * MS, 10, 20)

    files = reads.files(resolve=lambda path: None if path == b"/of/the/host" else path)

    b, a = files
    assert (b.first_ms, b.last_ms, ranges_of(b)) == (0, 400, [(0, 10, 0), (10, 20, 400)])
    assert (a.first_ms, a.last_ms, ranges_of(a)) == (200, 200, [(5, 15, 200)])


def test_reads_in_a_row_at_one_time_are_one_range_and_a_read_again_adds_nothing() -> None:
    reads = GatheredReads()
    for start in (0, 100, 200, 0, 150):
        reads.add(b"/a", 7 * MS + start, start, start + 100)
    reads.add(b"/a", 50 * MS, 50, 60)
    reads.add(b"/a", 60 * MS, 9, 9)

    (file,) = reads.files()

    assert (ranges_of(file), file.last_ms) == ([(0, 300, 0)], 43)


@pytest.mark.parametrize("first", [b"/link", b"/target"])
def test_two_paths_of_one_file_are_one_file_with_the_earliest_times(first: bytes) -> None:
    reads = GatheredReads()
    second = b"/target" if first == b"/link" else b"/link"
    reads.add(first, 10 * MS, 0, 100)
    reads.add(second, 20 * MS, 50, 150)
    reads.add(b"/other/link", 5 * MS, 400, 500)
    reads.set_size(second, 450)

    (file,) = reads.files(resolve=lambda _: b"/target")

    assert (file.path, file.first_ms, file.last_ms, file.size_bytes) == (b"/target", 0, 15, 450)
    assert ranges_of(file) == [(400, 450, 0), (0, 100, 5), (100, 150, 15)]


def test_a_file_that_is_whole_under_one_path_is_whole() -> None:
    reads = GatheredReads()
    reads.add(b"/link", 10 * MS, 0, 100)
    reads.add_whole(b"/target", 20 * MS)

    (file,) = reads.files(resolve=lambda _: b"/target")

    assert (file.ranges, file.first_ms, file.last_ms) == ((), 0, 10)


def test_reads_behind_the_size_stay_where_the_file_has_grown_meanwhile() -> None:
    reads = GatheredReads()
    reads.set_size(b"/a", 50)
    reads.add(b"/a", 0, 60, 70)
    reads.set_size(b"/b", 50)
    reads.add(b"/b", 0, 40, 70)

    a, b = reads.files()

    assert (ranges_of(a), ranges_of(b)) == ([(60, 70, 0)], [(40, 50, 0)])


def test_what_comes_after_the_limit_is_left_out() -> None:
    reads = GatheredReads()
    reads.add(b"/a", 0, 0, 10)
    reads.add(b"/a", 900 * MS, 10, 20)
    reads.add(b"/b", 900 * MS, 0, 10)

    (file,) = reads.files(limit_ms=899)

    assert (ranges_of(file), file.last_ms) == ([(0, 10, 0)], 899)


def test_without_times_each_file_is_a_millisecond_later() -> None:
    reads = GatheredReads()
    reads.add_whole(b"/z", None)
    reads.add(b"/a", None, 0, 1)
    reads.add(b"/z", None, 0, 1)

    assert [(one.path, one.first_ms) for one in reads.files()] == [(b"/z", 0), (b"/a", 1)]


def test_the_number_of_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "MAX_FILES", 2)
    reads = GatheredReads()
    for path in (b"/a", b"/b", b"/a"):
        reads.add_whole(path, 0)

    with pytest.raises(InvalidRequest, match="more than 2 files are read"):
        reads.add_whole(b"/c", 0)


def test_the_number_of_ranges_of_all_files_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "MAX_RANGES", 20)
    reads = GatheredReads()
    for number in range(300):
        reads.add(b"/%d" % (number % 4), number * MS, number * 10_000, number * 10_000 + 1)

    files = reads.files()

    assert sum(len(one.ranges) for one in files) <= 20
    for number in range(300):
        (file,) = (one for one in files if one.path == b"/%d" % (number % 4))
        assert any(one.start <= number * 10_000 < one.end for one in file.ranges)


@pytest.mark.parametrize(
    ("directory", "path", "joined"),
    [
        (b"/a/b", b"c", b"/a/b/c"),
        (b"/a/b", b"../c", b"/a/c"),
        (b"/a", b"../../../c", b"/c"),
        (b"/a", b"/x//y/./z", b"/x/y/z"),
        (b"/", b"", b"/"),
    ],
)
def test_paths_are_joined_as_the_kernel_does_without_links(
    directory: bytes, path: bytes, joined: bytes
) -> None:
    assert joined_path(directory, path) == joined


def test_a_clock_decides_once_whether_there_are_times() -> None:
    timed, untimed = Clock(), Clock()

    assert [timed.at(ns) for ns in (5, None, 7)] == [5, 5, 7]
    assert [untimed.at(ns) for ns in (None, 5)] == [None, None]
