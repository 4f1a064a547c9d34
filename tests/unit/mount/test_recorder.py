from __future__ import annotations

from collections.abc import Sequence

import pytest

from soci.mount import recorder as recorder_module
from soci.mount.inodes import Inode
from soci.mount.recorder import Recorder, joined
from soci.oci.digest import Digest
from soci.oci.platform import Platform
from soci.start.profile import FileRead, ReadRange, StartProfile, encode_profile, parse_profile
from tests.unit.mount.test_inodes import entry

IMAGE = Digest.parse("sha256:" + "1" * 64)
LAYER = Digest.parse("sha256:" + "2" * 64)
PLATFORM = Platform.parse("linux/amd64")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(clock):
    return Recorder(clock=clock)


def inode_of(*, size: int = 10_000, mode: int = 0o644) -> Inode:
    found = entry("x", uncompressed_size=size, mode=mode)
    return Inode(number=2, type="reg", entry=found, layer=0, path=b"/x")


def read(
    recorder: Recorder, clock: Clock, path: bytes, start: int, end: int, *, waits: float = 0.0, **inode: int
) -> None:
    recorder.began()
    clock.now += waits
    recorder.ended(path, inode_of(**inode), start, end - start)


def profile_of(recorder: Recorder) -> StartProfile:
    return recorder.profile(
        image=IMAGE,
        platform=PLATFORM,
        layer_of=lambda _: LAYER,
        spans_of=lambda _, start, end: range(start // 1000, -(-end // 1000)),
    )


def files_of(recorder: Recorder) -> Sequence[FileRead]:
    return profile_of(recorder).files


def test_a_profile_says_what_was_read_in_order(recorder, clock):
    read(recorder, clock, b"/b", 0, 4096)
    clock.now += 0.25
    read(recorder, clock, b"/a", 2000, 2500, mode=0o755)

    profile = profile_of(recorder)
    first, second = profile.files
    assert (profile.image, profile.platform, profile.program) == (IMAGE, PLATFORM, b"/a")
    assert (first.path, first.first_ms, first.spans) == (b"/b", 0, (0, 1, 2, 3, 4))
    assert (second.path, second.first_ms, second.spans) == (b"/a", 250, (2,))
    assert second.ranges == (ReadRange(start=2000, end=2500, first_ms=250),)
    assert (second.size_bytes, second.layer) == (10_000, LAYER)
    assert parse_profile(encode_profile(profile)) == profile


def test_the_clock_stands_still_while_a_read_waits(recorder, clock):
    read(recorder, clock, b"/a", 0, 10, waits=5.0)
    clock.now += 0.1
    read(recorder, clock, b"/b", 0, 10, waits=5.0)
    clock.now += 0.1
    read(recorder, clock, b"/c", 0, 10)

    assert [one.first_ms for one in files_of(recorder)] == [0, 100, 200]


def test_reads_that_wait_side_by_side_stop_the_clock_once(recorder, clock):
    recorder.began()
    clock.now += 1
    recorder.began()
    clock.now += 1
    recorder.ended(b"/a", inode_of(), 0, 10)
    clock.now += 1
    recorder.ended(b"/b", inode_of(), 0, 10)
    clock.now += 0.5
    read(recorder, clock, b"/c", 0, 10)

    assert [(one.path, one.first_ms) for one in files_of(recorder)] == [(b"/a", 0), (b"/b", 0), (b"/c", 500)]


def test_what_is_read_again_counts_once(recorder, clock):
    for _ in range(3):
        read(recorder, clock, b"/a", 0, 4096)
        clock.now += 0.1

    [one] = files_of(recorder)
    assert one.ranges == (ReadRange(start=0, end=4096, first_ms=0),)
    assert (one.first_ms, one.last_ms) == (0, 200)


def test_a_read_that_failed_or_found_the_end_is_no_read(recorder, clock):
    read(recorder, clock, b"/a", 10_000, 10_000)

    assert files_of(recorder) == ()


def test_recording_stops_after_its_time(clock):
    recorder = Recorder(clock=clock, seconds=2.0)
    assert not recorder.is_over
    read(recorder, clock, b"/a", 0, 10)
    clock.now += 2.5
    read(recorder, clock, b"/b", 0, 10)

    assert recorder.is_over
    assert [one.path for one in files_of(recorder)] == [b"/a"]


def test_the_time_to_record_begins_with_the_first_read(clock):
    recorder = Recorder(clock=clock, seconds=2.0)
    clock.now += 10
    read(recorder, clock, b"/a", 0, 10)

    assert [one.path for one in files_of(recorder)] == [b"/a"]


def test_many_ranges_of_a_file_become_one(recorder, clock, monkeypatch):
    monkeypatch.setattr(recorder_module, "MAX_RANGES_OF_FILE", 3)
    for start in (0, 100, 200, 300):
        read(recorder, clock, b"/a", start, start + 10)

    [one] = files_of(recorder)
    assert one.ranges == (ReadRange(start=0, end=310, first_ms=0),)


def test_files_beyond_the_limit_are_counted(recorder, clock, monkeypatch):
    monkeypatch.setattr(recorder_module, "MAX_FILES", 2)
    for name in (b"/a", b"/b", b"/c"):
        read(recorder, clock, name, 0, 10)

    assert [one.path for one in files_of(recorder)] == [b"/a", b"/b"]
    assert recorder.left_off_files == 1


def part(start: int, end: int, first_ms: int = 0) -> ReadRange:
    return ReadRange(start=start, end=end, first_ms=first_ms)


@pytest.mark.parametrize(
    ("before", "new", "after"),
    [
        ([], part(0, 5), [part(0, 5)]),
        ([part(0, 5)], part(5, 9, 7), [part(0, 9)]),
        ([part(5, 9)], part(0, 5, 7), [part(0, 9)]),
        ([part(0, 5)], part(6, 9, 7), [part(0, 5), part(6, 9, 7)]),
        ([part(0, 9)], part(2, 5, 7), [part(0, 9)]),
        ([part(20, 30, 1), part(0, 5, 2)], part(4, 21, 7), [part(0, 30, 1)]),
        (
            [part(50, 60, 1), part(20, 30, 2), part(0, 5, 3)],
            part(5, 20, 7),
            [part(50, 60, 1), part(0, 30, 2)],
        ),
    ],
    ids=["first", "behind", "before", "apart", "inside", "between", "between with another"],
)
def test_ranges_that_touch_are_joined(before, new, after):
    assert joined(before, new) == after
